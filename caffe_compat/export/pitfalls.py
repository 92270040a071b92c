"""What builds and runs, and yet may not be what was meant: memory reused in place, statistics that count as 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from caffe_compat.graph.graph import Graph
from caffe_compat.graph.hazards import find_hazards

_LEFT = "Caffe computes them with what is left there, and so does this"


def overwritten(graph: Graph, gradients: bool = False) -> Iterator[tuple[str, str, bool]]:
    """(layer, message, whether no value is Caffe's) for every layer that computes with overwritten memory.

    While testing, what changes the backward pass only with `gradients`, and as what concerns those who ask for them.
    """
    hazards = find_hazards(graph.nodes)
    for name, text in hazards.lost_gradients if gradients or graph.phase == "TRAIN" else ():
        yield name, f"layer '{name}': {text}; so it is in Caffe, and so it is here", False
    for number, hazard in hazards.by_number.items():
        name = graph.nodes[number].name
        if hazard.undefined:
            yield name, f"layer '{name}': {hazard.undefined}; give its top another name", True
            continue
        for text, is_forward in hazard.notes:
            if is_forward or graph.phase == "TRAIN":
                yield name, f"layer '{name}': {text}; Caffe computes with what is left there, and so does this", False
            elif gradients:
                yield name, f"layer '{name}': where gradients are asked for, {text}; {_LEFT}", False


def odd_values(layer: Any, blobs: Sequence[np.ndarray]) -> Iterator[str]:
    """A message for everything in the weights of a layer that no training leaves there."""
    for index, blob in enumerate(blobs):
        bad = blob.size - int(np.isfinite(blob).sum())
        if bad:
            yield f"layer '{layer.name}': blob {index} has {bad} of {blob.size} values that are not finite"
    if layer.type == "BatchNorm" and len(blobs) == 3:
        mean, variance, factor = blobs
        if factor.size and not factor.flat[0] and (mean.any() or variance.any()):
            yield (
                f"layer '{layer.name}': factor (blob 2) is 0, so that Caffe takes mean and variance as 0 although "
                "they are not; if they are the statistics themselves, set it to 1"
            )
        if (variance * (factor.flat[0] if factor.size else 1) < 0).any():
            yield f"layer '{layer.name}': variance (blob 1) has values below 0, whose root is not a number"
