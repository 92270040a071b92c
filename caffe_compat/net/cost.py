"""What a net costs: multiply-adds and parameters, of each layer and in all; two nets side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch

from caffe_compat.errors import DataError
from caffe_compat.graph.graph import build_graph
from caffe_compat.layers.base import Context, Layer, Shape
from caffe_compat.net.shapes import set_up_layers
from caffe_compat.net.sources import refuse_unknown_inputs
from caffe_compat.proto.model import Model, ModelLike, as_model
from caffe_compat.showing import html_table


@dataclass(frozen=True)
class Cost:
    """multiply_adds: of one forward pass for one item of the batch. parameters: numbers in the blobs."""

    multiply_adds: int = 0
    parameters: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.multiply_adds + other.multiply_adds, self.parameters + other.parameters)


def layer_costs(model: ModelLike, input_shapes: Mapping[str, Shape] | None = None) -> dict[str, Cost]:
    """The cost of every layer of the TEST net by name, in order; layers of one name add up.

    input_shapes: {blob: shape} for inputs whose shape the net does not declare, or whose data is not here.
    A blob shared between layers counts where it comes first. Raises DataError where a shape is missing.
    """
    model = as_model(model)
    costs: dict[str, Cost] = {}
    for (name, _), cost in _costs(model, input_shapes).items():
        costs[name] = costs.get(name, Cost()) + cost
    return costs


def _costs(model: Model, input_shapes: Mapping[str, Shape] | None) -> dict[tuple[str, str], Cost]:
    """The cost of the layers of every name and type: names alone are not always a layer's own."""
    costs: dict[tuple[str, str], Cost] = {}
    seen: set[str] = set()
    for layer, bottoms, tops in layers_with_shapes(model, input_shapes):
        batch = bottoms[0][0] if bottoms and bottoms[0] else 1
        names = [spec.name for spec in layer.param.param] + [""] * len(layer.blobs)
        own = [blob for blob, name in zip(layer.blobs, names, strict=False) if name not in seen]
        seen.update(name for name in names if name)
        key = (layer.name, str(layer.param.type))
        spent = Cost(layer.multiply_adds(bottoms, tops) // batch, sum(blob.numel() for blob in own))
        costs[key] = costs.get(key, Cost()) + spent
    return costs


def layers_with_shapes(
    model: ModelLike, input_shapes: Mapping[str, Shape] | None = None
) -> list[tuple[Layer, list[Shape], list[Shape]]]:
    """Every layer of the TEST net with the shapes of its bottoms and tops; see `layer_costs`."""
    model = as_model(model)
    refuse_unknown_inputs([model], input_shapes or {})
    graph = build_graph(model.net, "TEST")
    try:
        with torch.device("meta"):  # shapes without memory or random numbers
            layers, shapes = set_up_layers(graph, Context("TEST", folder=model.folder), dict(input_shapes or {}))
    except DataError as error:
        raise type(error)(f"{error}; to count without data, give input_shapes={{'data': (1, 3, 32, 32)}}") from error
    return [
        (layer, [shapes[blob] for blob in node.bottoms], [shapes[blob] for blob in node.tops])
        for node, layer in zip(graph.nodes, layers, strict=True)
    ]


def cost(model: ModelLike, input_shapes: Mapping[str, Shape] | None = None) -> Cost:
    """The cost of the whole TEST net; see `layer_costs`."""
    model = as_model(model)
    return reduce(add, layer_costs(model, input_shapes).values(), Cost())


@dataclass(frozen=True)
class Comparison:
    """Two nets side by side: {layer of the first: (its cost, the cost of what stands for it in the second)}."""

    layers: dict[str, tuple[Cost, Cost]]

    @property
    def before(self) -> Cost:
        return reduce(add, (pair[0] for pair in self.layers.values()), Cost())

    @property
    def after(self) -> Cost:
        return reduce(add, (pair[1] for pair in self.layers.values()), Cost())

    @property
    def speedup(self) -> float:
        """How many times fewer multiply-adds the second net has."""
        return self.before.multiply_adds / max(self.after.multiply_adds, 1)

    def __str__(self) -> str:
        return _table(self._rows())

    def _repr_html_(self) -> str:
        return html_table(f"{self.speedup:.2f} times fewer multiply-adds", self._rows())

    def _rows(self) -> list[tuple[str, ...]]:
        shown = {name: pair for name, pair in self.layers.items() if any(each != Cost() for each in pair)}
        rows: list[tuple[str, ...]] = [("layer", "multiply-adds", "after", "fewer", "parameters", "after", "fewer")]
        return rows + [_row(name, *pair) for name, pair in (shown | {"total": (self.before, self.after)}).items()]


def compare_cost(before: ModelLike, after: ModelLike, input_shapes: Mapping[str, Shape] | None = None) -> Comparison:
    """What each layer of `before` costs, and what the layers cost that took its place in `after`.

    A layer that is gone is stood for by those whose names begin with its name and an underscore, as `decompose`
    names them. print() gives a table.
    """
    before, after = as_model(before), as_model(after)
    old, new = _costs(before, input_shapes), _costs(after, input_shapes)
    pairs: dict[str, tuple[Cost, Cost]] = {}
    for key, cost in old.items():
        _add(pairs, key[0], cost, new.get(key, Cost()))
    gone = {name for name, kind in old if (name, kind) not in new}
    for key, cost in new.items():
        if key not in old:
            *words, _ = key[0].split("_")
            before_it = ("_".join(words[:count]) for count in range(len(words), 0, -1))
            _add(pairs, next((name for name in before_it if name in gone), key[0]), Cost(), cost)
    return Comparison(pairs)


def _add(pairs: dict[str, tuple[Cost, Cost]], name: str, before: Cost, after: Cost) -> None:
    was, now = pairs.get(name, (Cost(), Cost()))
    pairs[name] = (was + before, now + after)


def _row(name: str, before: Cost, after: Cost) -> tuple[str, ...]:
    cells = [name]
    for was, now in ((before.multiply_adds, after.multiply_adds), (before.parameters, after.parameters)):
        cells += [f"{was:,}", f"{now:,}", f"{was / now:.2f}x" if now else "-"]
    return tuple(cells)


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
