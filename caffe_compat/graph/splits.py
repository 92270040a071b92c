"""Split layers where one top has several uses (insert_splits.cpp).

Given:

    layer { name: "ip1" top: "ip1" ... }
    layer { name: "accuracy" bottom: "ip1" ... }
    layer { name: "loss" bottom: "ip1" ... }

Result:

    layer { name: "ip1" top: "ip1" ... }
    layer { name: "ip1_ip1_0_split" type: "Split" bottom: "ip1" top: "ip1_ip1_0_split_0" top: "ip1_ip1_0_split_1" }
    layer { name: "accuracy" bottom: "ip1_ip1_0_split_0" ... }
    layer { name: "loss" bottom: "ip1_ip1_0_split_1" ... }
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from caffe_compat.errors import CaffeCompatError
from caffe_compat.proto.schema import LayerParameter

Place = tuple[int, int]  # (position of the layer, index of its top or bottom)


def insert_splits(layers: Sequence[Any]) -> list[Any]:
    """Copies of `layers` with a Split behind every top that has more than one use.

    A bottom is a use, and so is a loss_weight other than 0, which moves to the first top of the Split. As in Caffe, the
    layer then loses the loss_weights of its other tops too. A bottom that no layer above makes is left as it is.
    """
    source, uses, weights = _uses(layers)
    next_copy = {place: 1 if weights.get(place) else 0 for place in uses}
    result: list[Any] = []
    for i, original in enumerate(layers):
        layer = LayerParameter()
        layer.CopyFrom(original)
        result.append(layer)
        for j, blob in enumerate(layer.bottom):
            place = source.get((i, j))
            if place is not None and uses[place] > 1:
                layer.bottom[j] = f"{_split_name(blob, layers, place)}_{next_copy[place]}"
                next_copy[place] += 1
        for j, blob in enumerate(original.top):
            if uses[i, j] > 1:
                weight = weights.get((i, j), 0.0)
                result.append(_split_layer(blob, _split_name(blob, layers, (i, j)), uses[i, j], weight))
                if weight:
                    layer.ClearField("loss_weight")
    return result


def split_blobs(layers: Iterable[Any]) -> dict[str, str]:
    """The blob behind every copy that a Split of `layers` makes, whether inserted here or read from a snapshot."""
    found: dict[str, str] = {}
    for layer in layers:
        copies = [top for index, top in enumerate(layer.top) if top == f"{layer.name}_{index}"]
        if layer.type == "Split" and layer.bottom and layer.name.endswith("_split"):
            found.update(dict.fromkeys(copies, found.get(layer.bottom[0], layer.bottom[0])))
    return found


@contextmanager
def copies_unnamed(layers: Iterable[Any]) -> Iterator[None]:
    """Within this block an error names the blob that a Split of `layers` copied, not its copy, which no user knows."""
    try:
        yield
    except CaffeCompatError as error:
        copies = split_blobs(layers)
        if copies:
            words = "|".join(sorted(map(re.escape, copies), key=len, reverse=True))
            names = re.compile(rf"(?<!\w)(?:{words})(?!\w)")
            error.args = tuple(
                names.sub(lambda found: copies[found[0]], each) if isinstance(each, str) else each
                for each in error.args
            )
        raise


def _uses(layers: Sequence[Any]) -> tuple[dict[Place, Place], Counter[Place], dict[Place, float]]:
    """Which top every bottom comes from, how many uses every top has, and its loss_weight."""
    last: dict[str, Place] = {}
    source: dict[Place, Place] = {}
    uses: Counter[Place] = Counter()
    weights: dict[Place, float] = {}
    for i, layer in enumerate(layers):
        for j, blob in enumerate(layer.bottom):
            if blob in last:
                source[i, j] = last[blob]
                uses[last[blob]] += 1
        for j, blob in enumerate(layer.top):
            last[blob] = (i, j)
        for j, weight in enumerate(layer.loss_weight[: len(layer.top)]):
            if weight:
                weights[i, j] = weight
                uses[i, j] += 1
    return source, uses, weights


def _split_name(blob: str, layers: Sequence[Any], place: Place) -> str:
    return f"{blob}_{layers[place[0]].name}_{place[1]}_split"


def _split_layer(blob: str, name: str, uses: int, weight: float) -> Any:
    weights = [weight] + [0.0] * (uses - 1) if weight else []
    return LayerParameter(
        name=name, type="Split", bottom=[blob], top=[f"{name}_{k}" for k in range(uses)], loss_weight=weights
    )
