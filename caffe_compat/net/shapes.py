"""The layers of a graph, set up in order, and the shape of every blob (net.cpp, Init; layer.hpp, SetUp)."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace

from caffe_compat.errors import CaffeCompatError, GraphError, ShapeError
from caffe_compat.graph.graph import Blob, Graph, Node
from caffe_compat.graph.rules import phase_name
from caffe_compat.graph.splits import copies_unnamed
from caffe_compat.layers.base import MOST_VALUES, Context, Layer, Shape
from caffe_compat.layers.registry import create_layer
from caffe_compat.layers.source import SourceLayer

Shapes = dict[Blob, Shape]


def set_up_layers(
    graph: Graph, context: Context, input_shapes: Mapping[str, Shape], given: Container[str] = ()
) -> tuple[list[Layer], Shapes]:
    """The layers of `graph`, ready to run, and the shape of every blob.

    `input_shapes` replaces the shapes that sources declare; a source that then has nothing to say is not opened.
    The blobs of the layers named in `given` are not filled, for their weights come next.
    GraphError where a layer takes another number of bottoms or tops, ShapeError where it cannot take a shape.
    """
    layers: list[Layer] = []

    def shapes_of(node: Node, bottom_shapes: list[Shape]) -> list[Shape]:
        phase = phase_name(node.param.phase)
        layer = create_layer(node.param, replace(context, phase=phase, fills=node.name not in given))
        check_tops_and_bottoms(node, layer)
        layers.append(layer)
        layer.setup(bottom_shapes)
        if not isinstance(layer, SourceLayer):
            return top_shapes(node, layer, bottom_shapes)
        fixed = {top.name: tuple(input_shapes[top.name]) for top in node.tops if top.name in input_shapes}
        if len(fixed) == len(node.tops):
            return list(fixed.values())
        declared = top_shapes(node, layer, bottom_shapes)
        return [fixed.get(top.name, shape) for top, shape in zip(node.tops, declared, strict=True)]

    return layers, _walk(graph.nodes, shapes_of)


def infer_shapes(graph: Graph, layers: Sequence[Layer], fed: Mapping[str, Shape]) -> Shapes:
    """The shape of every blob that follows from sources with the shapes `fed`; ShapeError names the layer."""
    layer_of = {id(node): layer for node, layer in zip(graph.nodes, layers, strict=True)}

    def shapes_of(node: Node, bottom_shapes: list[Shape]) -> Sequence[Shape | None]:
        layer = layer_of[id(node)]
        if isinstance(layer, SourceLayer):
            return [fed.get(top.name) for top in node.tops]
        return top_shapes(node, layer, bottom_shapes)

    return _walk(graph.nodes, shapes_of)


def _walk(nodes: Sequence[Node], shapes_of: Callable[[Node, list[Shape]], Sequence[Shape | None]]) -> Shapes:
    shapes: Shapes = {}
    with copies_unnamed(node.param for node in nodes):
        for node in nodes:
            if all(bottom in shapes for bottom in node.bottoms):
                tops = shapes_of(node, [shapes[bottom] for bottom in node.bottoms])
                shapes.update((top, shape) for top, shape in zip(node.tops, tops, strict=True) if shape is not None)
    return shapes


def top_shapes(node: Node, layer: Layer, bottom_shapes: list[Shape]) -> list[Shape]:
    """The shape of every top that `node` names; GraphError for another number of them, ShapeError for a misfit."""
    try:
        shapes = [tuple(int(size) for size in shape) for shape in layer.top_shapes(bottom_shapes)]
    except CaffeCompatError:
        raise
    except (IndexError, ValueError) as error:  # of an axis that is not there: unpacking, or asking for it
        found = ", ".join(map(str, bottom_shapes)) or "none"
        kind = node.param.type
        if kind == "Python":  # the user's own code says what it wants
            raise
        raise ShapeError(f"layer '{node.name}': type {kind} takes no bottoms of shape {found} ({error})") from error
    if len(shapes) != len(node.tops):
        raise GraphError(f"layer '{node.name}' makes {len(shapes)} tops, but names {len(node.tops)}")
    for shape in shapes:
        if any(size < 0 for size in shape):
            raise ShapeError(f"layer '{node.name}': a top would have shape {shape}; no axis may be negative")
        if math.prod(shape) > MOST_VALUES:
            raise ShapeError(f"layer '{node.name}': a top would be {shape}, more than Caffe's {MOST_VALUES} values")
    return shapes


def check_tops_and_bottoms(node: Node, layer: Layer) -> None:
    """GraphError where the layer takes another number of bottoms or tops than `node` has, or cannot work in place."""
    for word, blobs, count in (("bottoms", node.bottoms, layer.bottoms), ("tops", node.tops, layer.tops)):
        if len(blobs) not in count:
            found = ", ".join(f"'{blob.name}'" for blob in blobs) or "none"
            raise GraphError(
                f"layer '{node.name}': type {node.param.type} takes {count} {word}, found {len(blobs)}: {found}"
            )
    first = node.bottoms[0].name if node.bottoms else None
    if not layer.works_in_place and any(top.name == first for top in node.tops):
        raise GraphError(
            f"layer '{node.name}': type {node.param.type} does not work in place; give its top another name than "
            f"'{first}'"
        )
