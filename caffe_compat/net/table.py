"""print(net): one line a layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from caffe_compat.graph.graph import Graph
from caffe_compat.layers.base import Layer, Shape
from caffe_compat.net.shapes import Shapes
from caffe_compat.showing import html_table, visible

HEADER = ("layer", "type", "tops", "shape", "parameters", "multiply-adds")
LEFT_ALIGNED = 4  # the columns of text; the others are numbers


def table(graph: Graph, layers: Sequence[Layer], shapes: Shapes) -> str:
    """The layers of a net, aligned: name, type, tops, their shapes, learnable values, multiply-adds for one image.

    Splits, which only pass values on, are only counted, in the first line. A shared blob counts with its owner.
    """
    title, rows = _rows(graph, layers, shapes)
    return "\n".join([visible(title), *_aligned(rows)])


def net_html(graph: Graph, layers: Sequence[Layer], shapes: Shapes) -> str:
    """The same as an HTML table, for notebooks."""
    title, rows = _rows(graph, layers, shapes)
    return html_table(title, rows, LEFT_ALIGNED)


class LayerFacts(NamedTuple):
    """One row: a layer, its type, the shape of each top, its learnable values, its multiply-adds for one image."""

    layer: str
    type: str
    tops: dict[str, Shape]
    parameters: int
    multiply_adds: int


def layer_facts(graph: Graph, layers: Sequence[Layer], shapes: Shapes) -> list[LayerFacts]:
    """A row for every layer but the Splits. A shared blob counts with its owner."""
    found = []
    seen: set[int] = set()
    images = batch_size(graph, shapes)
    for node, layer in zip(graph.nodes, layers, strict=True):
        if node.param.type == "Split":
            continue
        owned = sum(blob.numel() for blob in layer.blobs if id(blob) not in seen)
        seen.update(id(blob) for blob in layer.blobs)
        cost = layer.multiply_adds([shapes[b] for b in node.bottoms], [shapes[t] for t in node.tops]) // images
        tops = {top.name: shapes[top] for top in node.tops}
        found.append(LayerFacts(node.name, node.param.type, tops, owned, cost))
    return found


def _rows(graph: Graph, layers: Sequence[Layer], shapes: Shapes) -> tuple[str, list[tuple[str, ...]]]:
    """The title of the table, and its rows with the header."""
    facts = layer_facts(graph, layers, shapes)
    parameters, multiply_adds = sum(each.parameters for each in facts), sum(each.multiply_adds for each in facts)
    total = ("total", f"{len(facts)} layers", "", "", f"{parameters:,}", f"{multiply_adds:,}")
    title = f"{graph.name or 'net'} ({graph.phase}), batch {batch_size(graph, shapes)}, multiply-adds per image"
    splits = len(graph.nodes) - len(facts)
    return title + (f", {splits} Splits not shown" if splits else ""), [HEADER, *map(_row, facts), total]


def batch_size(graph: Graph, shapes: Shapes) -> int:
    """How many images the net takes at once: the first axis of its first input; 1 where there is none."""
    tops = [top for node in graph.nodes if not node.bottoms for top in node.tops]
    first = next((shapes[top] for top in tops if len(shapes[top]) > 1), (1,))
    return max(first[0], 1)


def _row(facts: LayerFacts) -> tuple[str, ...]:
    sizes = ", ".join("x".join(map(str, shape)) or "()" for shape in facts.tops.values())
    numbers = (f"{n:,}" if n else "" for n in (facts.parameters, facts.multiply_adds))
    return facts.layer, facts.type, ", ".join(facts.tops), sizes, *numbers


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        yield "  ".join(c.ljust(w) if i < LEFT_ALIGNED else c.rjust(w) for i, (c, w) in enumerate(cells)).rstrip()
