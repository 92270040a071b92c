"""Inputs that any net can take, of seeded random values: labels in range, regions in the image, markers of sequences.

Each input is followed to the layers that read it, through those that only pass values on; what they take decides what
is drawn. Where nothing is known of a reader, an input holds normal numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from caffe_compat.errors import CaffeCompatError
from caffe_compat.graph.graph import Blob
from caffe_compat.layers.base import Shape
from caffe_compat.layers.registry import loss_types
from caffe_compat.net.input_rules import Use, rule_for
from caffe_compat.net.net import Net
from caffe_compat.net.shapes import Shapes, infer_shapes

# Layers whose tops hold the values of their bottoms, in other places at most
_PASSING = frozenset(
    {"Concat", "Dropout", "Flatten", "Gather", "Permute", "Reshape", "Reverse", "Scatter", "Slice", "Split", "Tile",
     "Transpose"}
)  # fmt: skip

Arrays = Mapping[str, Any]


def valid_inputs(net: Net, seed: int = 0, shapes: Mapping[str, Shape] | None = None) -> dict[str, np.ndarray]:
    """A float32 array for every input of `net` that `shapes` has (default: all, as built), drawn from `seed`."""
    sizes = {name: tuple(net.shapes[name]) for name in net.input_names}
    wanted = sizes if shapes is None else {name: tuple(shape) for name, shape in shapes.items()}
    found = _shapes(net, {**sizes, **wanted})
    uses = _uses(net, found)
    random = np.random.RandomState(seed)
    return {name: _drawn(uses.get(name, []), random, shape) for name, shape in wanted.items()}


def complete_inputs(net: Net, given: Arrays, seed: int = 0, names: Sequence[str] | None = None) -> dict[str, Any]:
    """`given`, and valid inputs for the rest of `names` (default: of all inputs), with as large a batch as given."""
    batches = {net.shapes[name][0]: len(value) for name, value in given.items() if net.shapes.get(name)}
    shapes = {name: net.shapes[name] for name in (net.input_names if names is None else names) if name not in given}
    sized = {name: (batches.get(shape[0], shape[0]), *shape[1:]) if shape else shape for name, shape in shapes.items()}
    return {**valid_inputs(net, seed, sized), **given}


def _shapes(net: Net, sizes: Mapping[str, Shape]) -> Shapes:
    """The shape of every blob for inputs of these sizes; as built where the net cannot take them."""
    layers = [layer for _, layer in net.steps]
    try:
        return infer_shapes(net.graph, layers, sizes)
    except CaffeCompatError:
        return infer_shapes(net.graph, layers, {name: net.shapes[name] for name in net.input_names})


def _uses(net: Net, shapes: Shapes) -> dict[str, list[Use]]:
    """Who reads each input, by its name, behind layers that only pass values on."""
    origins: dict[Blob, tuple[str, ...]] = {}
    uses: dict[str, list[Use]] = {}
    for node, layer in net.steps:
        if not node.bottoms:
            origins.update((top, (top.name,)) for top in node.tops)
            continue
        for index, blob in enumerate(node.bottoms):
            for name in origins.get(blob, ()) if node.param.type not in _PASSING else ():
                bottoms = tuple(shapes.get(each, ()) for each in node.bottoms)
                tops = tuple(shapes.get(each, ()) for each in node.tops)
                uses.setdefault(name, []).append(Use(layer, index, bottoms, tops))
        if node.param.type in _PASSING:
            names = tuple(dict.fromkeys(name for blob in node.bottoms for name in origins.get(blob, ())))
            origins.update((top, names) for top in node.tops)
    return uses


def _drawn(uses: Sequence[Use], random: np.random.RandomState, shape: Shape) -> np.ndarray:
    found = next(_ruled(uses, random, shape), None)
    if found is None:
        only_measured = bool(uses) and all(use.index and _is_measured(use) for use in uses)
        unread = not uses and len(shape) < 2
        found = np.zeros(shape) if only_measured or unread else random.standard_normal(shape)
    return np.ascontiguousarray(found, dtype=np.float32).reshape(shape)


def _ruled(uses: Sequence[Use], random: np.random.RandomState, shape: Shape) -> Iterator[np.ndarray]:
    """What each rule for a reader makes, that of the strictest reader first."""
    kinds = [(rule, use) for rule, use in ((rule_for(use), use) for use in uses) if rule is not None]
    for rule, use in sorted(kinds, key=lambda pair: pair[1].choices):
        made = rule(use, random, shape)
        if made is not None:
            yield made


def _is_measured(use: Use) -> bool:
    """Whether a reader compares its other bottoms with what the net computes, in a way not known here."""
    kind = use.layer.param.type
    return kind in loss_types() or kind.endswith(("Loss", "Accuracy")) or kind in ("Python", "HDF5Output", "Silence")
