"""What becomes of one net: exported and checked, cut before a layer that no format holds, or refused with a reason."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import caffe_compat as cc
from caffe_compat.export.ending import ending_at, shapes_left
from caffe_compat.graph.graph import build_graph
from tests.export.real_nets.outcomes import Outcome
from tests.export.real_nets.weights import with_drawn_weights

FORMS = {
    "onnx": (".onnx", cc.write_onnx, cc.check_onnx),
    "pt2": (".pt2", cc.write_exported_program, cc.check_exported_program),
}
# Before these a net may be cut: the values decide how many rows they give
CUTS = frozenset(
    {"BoxOutput", "CTCGreedyDecoder", "DetectionOutput", "FrcnnProposal", "Proposal", "Yolov3DetectionOutput",
     "YoloDetectionOutput"}
)  # fmt: skip
PROPOSALS = ("rpn.proposal_layer", "rpn.anchor_target_layer", "rpn.proposal_target_layer")  # Python modules
Shapes = Mapping[str, tuple[int, ...]]


def measure(path: Path, shapes: Shapes, form: str) -> Outcome:
    """Export the net at `path` with drawn weights, and run the file beside the net."""
    whole, deployed = prepared(cc.read_model(path), dict(shapes))
    model = whole
    sizes = {} if deployed else {**small_inputs(model), **shapes}
    names, types = before_cuts(model)
    before = ", ".join(sorted(types))
    if form == "pt2" or not types <= cc.onnx_types():
        model = ending_at(model, names)  # what lies behind is not even run
    model = with_drawn_weights(model, shapes_left(whole, model, sizes))
    if form == "onnx" and types <= cc.onnx_types():
        names, before = (), ""
    try:
        worst = exported(model, shapes_left(whole, model, sizes), form, names)
    except cc.CaffeCompatError as error:
        return Outcome("refused", deployed, str(error), before)
    return Outcome("cut" if names else "exported", deployed, f"{worst:.1e}", before)


def exported(model: Any, sizes: Shapes, form: str, outputs: tuple[str, ...]) -> float:
    """Write and check the file; the largest error of an output over its largest value."""
    suffix, write, check = FORMS[form]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"net{suffix}")
        write(model, path, sizes, outputs=outputs)
        return max(check(path, model).values())


def prepared(model: Any, shapes: dict[str, tuple[int, ...]]) -> tuple[Any, bool]:
    """A deploy net as it is; of a net with data, losses or measures its deploy net, and True."""
    nodes = build_graph(model.net, "TEST").nodes
    types, sources = ({node.param.type for node in nodes if reads or not node.bottoms} for reads in (True, False))
    trains = any(kind.endswith(("Loss", "Accuracy", "Evaluate")) for kind in types)
    if not trains and sources <= {"Input", "DummyData", "Parameter"}:
        return model, False
    by_batch = any(
        layer.type == "BatchNorm" and layer.batch_norm_param.HasField("use_global_stats")
        and not layer.batch_norm_param.use_global_stats for layer in model.net.layer
    )  # fmt: skip
    return cc.deploy(model, 4 if by_batch else 1, shapes, phase="TEST"), True


def small_inputs(model: Any) -> dict[str, tuple[int, ...]]:
    """The shapes of the inputs with a batch of 1, where the net takes that; none where it does not."""
    declared = {
        top: tuple(shape.dim)
        for layer in model.net.layer if layer.type == "Input"
        for top, shape in zip(layer.top, list(layer.input_param.shape) * len(layer.top), strict=False)
    }  # fmt: skip
    batch = next((shape[0] for shape in declared.values() if shape), 1)
    if batch == 1:
        return {}
    smaller = {name: (1, *shape[1:]) if shape[:1] == (batch,) else shape for name, shape in declared.items()}
    try:
        with torch.device("meta"):  # shapes alone
            cc.Net(model.net, "TEST", input_shapes=smaller)
    except cc.CaffeCompatError:
        return {}
    return smaller


def before_cuts(model: Any) -> tuple[tuple[str, ...], set[str]]:
    """What layers of CUTS read, and the outputs that none of them has a part in; the types of those layers."""
    graph = build_graph(model.net, "TEST")
    behind: set[Any] = set()
    names: dict[str, None] = {}
    types: set[str] = set()
    given: set[Any] = set()
    own: dict[Any, Any] = {}  # of a copy that a Split makes, what it is a copy of
    for node in graph.nodes:
        field = node.param.python_param
        if node.param.type == "Split":
            own.update((top, own.get(node.bottoms[0], node.bottoms[0])) for top in node.tops)
        if not node.bottoms:
            given.update(node.tops)
        read = [own.get(blob, blob) for blob in node.bottoms]
        if node.param.type in CUTS or field.module in PROPOSALS:
            names.update((blob.name, None) for blob in read if blob not in behind | given)
            behind.update(node.tops)
            types.add(field.layer or node.param.type)
        elif behind.intersection((*read, *node.bottoms)):
            behind.update(node.tops)
    last = {top.name: top for node in graph.nodes for top in node.tops}
    names.update((name, None) for name in graph.outputs if last[name] not in behind)
    return (tuple(names) if behind else ()), types
