"""`caffe.draw`: a NetParameter as a picture, by pydot and Graphviz's `dot` (the extra `pycaffe`)."""

from __future__ import annotations

import os
from typing import Any

from caffe_compat.pycaffe.optional import needed
from caffe_compat.pycaffe.proto import caffe_pb2

pydot: Any = needed("pydot", "caffe.draw")

LAYER_STYLE_DEFAULT = {"shape": "record", "fillcolor": "#6495ED", "style": "filled"}
NEURON_LAYER_STYLE = {"shape": "record", "fillcolor": "#90EE90", "style": "filled"}
BLOB_STYLE = {"shape": "octagon", "fillcolor": "#E0E0E0", "style": "filled"}
_COLORS = {"Convolution": "#FF5050", "Deconvolution": "#FF5050", "Pooling": "#FF9900", "InnerProduct": "#CC33FF"}
_LEARNING = ("Convolution", "Deconvolution", "InnerProduct")
_NO_LABEL = '""'


def get_pooling_types_dict() -> dict[int, str]:
    """The number of every way to pool -> its name."""
    return {value.number: value.name for value in caffe_pb2.PoolingParameter.PoolMethod.DESCRIPTOR.values}


def get_edge_label(layer: Any) -> str:
    """What stands at the edges to the tops of a layer: batch size, or number of outputs."""
    if layer.type == "Data":
        return f"Batch {layer.data_param.batch_size}"
    if layer.type in ("Convolution", "Deconvolution"):
        return str(layer.convolution_param.num_output)
    return str(layer.inner_product_param.num_output) if layer.type == "InnerProduct" else _NO_LABEL


def get_layer_lr_mult(layer: Any) -> tuple[float, float]:
    """lr_mult of weight and bias; ValueError for a layer of another kind, or with more than two."""
    if layer.type not in _LEARNING:
        raise ValueError(f"{layer.type} layers do not have a learning rate multiplier")
    if len(layer.param) > 2:
        raise ValueError("Could not parse the learning rate multiplier")
    weight, bias = ([param.lr_mult for param in layer.param] + [1.0, 1.0])[:2]
    return weight, bias


def get_layer_label(layer: Any, rankdir: str, display_lrm: bool = False) -> str:
    """The text of a layer's node: name, type, window, with `display_lrm` its lr_mults; one below the other in LR."""
    separator = " " if rankdir in ("TB", "BT") else r"\n"
    kind = layer.type
    if kind == "Pooling":
        kind = f"{kind} {get_pooling_types_dict()[layer.pooling_param.pool]}"
    parts = [layer.name, f"({kind})"]
    if layer.type in ("Convolution", "Deconvolution", "Pooling"):
        fields = layer.pooling_param if layer.type == "Pooling" else layer.convolution_param
        size, stride, pad = (_first(value, default) for value, default in
                             ((fields.kernel_size, 1), (fields.stride, 1), (fields.pad, 0)))  # fmt: skip
        parts.append(separator.join((f"kernel size: {size}", f"stride: {stride}", f"pad: {pad}")))
    if display_lrm and layer.type in _LEARNING and any(get_layer_lr_mult(layer)):
        parts.append("lr mult: {:.1f}, {:.1f}".format(*get_layer_lr_mult(layer)))
    return f'"{separator.join(parts)}"'


def _first(value: Any, default: int) -> Any:
    """The first of a repeated field, or its default; another field as it is."""
    return value if isinstance(value, int) else next(iter(value), default)


def choose_color_by_layertype(layertype: str) -> str:
    """The colour of a layer's node."""
    return _COLORS.get(layertype, LAYER_STYLE_DEFAULT["fillcolor"])


def get_pydot_graph(
    caffe_net: Any, rankdir: str, label_edges: bool = True, phase: int | None = None, display_lrm: bool = False
) -> Any:
    """The pydot graph of a NetParameter: its layers of `phase` (None: all) and their blobs. rankdir: LR, TB or BT."""
    graph = pydot.Dot(caffe_net.name or "Net", graph_type="digraph", rankdir=rankdir)
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str, str]] = []
    for layer in caffe_net.layer:
        if phase is not None and not _in_phase(layer, phase):
            continue
        name = f"{layer.name}_{layer.type}"
        nodes[name] = pydot.Node(get_layer_label(layer, rankdir, display_lrm), **_style(layer))
        for blob in layer.bottom:
            nodes[f"{blob}_blob"] = pydot.Node(blob, **BLOB_STYLE)
            edges.append((f"{blob}_blob", name, _NO_LABEL))
        for blob in layer.top:
            nodes[f"{blob}_blob"] = pydot.Node(blob)
            edges.append((name, f"{blob}_blob", get_edge_label(layer) if label_edges else _NO_LABEL))
    for node in nodes.values():
        graph.add_node(node)
    for source, target, label in edges:
        graph.add_edge(pydot.Edge(nodes[source], nodes[target], label=label))
    return graph


def _style(layer: Any) -> dict[str, str]:
    if len(layer.bottom) == len(layer.top) == 1 and layer.bottom[0] == layer.top[0]:
        return NEURON_LAYER_STYLE
    return {**LAYER_STYLE_DEFAULT, "fillcolor": choose_color_by_layertype(layer.type)}


def _in_phase(layer: Any, phase: int) -> bool:
    if layer.include and layer.exclude:
        raise ValueError(f"layer {layer.name} has both include and exclude specified.")
    included = not layer.include or any(rule.phase == phase for rule in layer.include)
    return included and not any(rule.phase == phase for rule in layer.exclude)


def draw_net(
    caffe_net: Any, rankdir: str, ext: str = "png", phase: int | None = None, display_lrm: bool = False
) -> bytes:
    """The picture of a NetParameter as the bytes of a file of type `ext`."""
    graph = get_pydot_graph(caffe_net, rankdir, phase=phase, display_lrm=display_lrm)
    return bytes(graph.create(format=ext))


def draw_net_to_file(
    caffe_net: Any,
    filename: str | os.PathLike[str],
    rankdir: str = "LR",
    phase: int | None = None,
    display_lrm: bool = False,
) -> None:
    """Write the picture of a NetParameter to `filename`, whose ending says the type; .raw is Graphviz's own text."""
    ext = os.fspath(filename).rpartition(".")[2]
    picture = draw_net(caffe_net, rankdir, ext, phase, display_lrm)
    with open(filename, "wb") as file:
        file.write(picture)
