"""What a check looks at in the data that a net names: its files, their first records, and their labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from caffe_compat.errors import MissingDataError
from caffe_compat.graph.graph import Blob, Graph
from caffe_compat.layers.base import Shape
from caffe_compat.layers.source import SourceLayer
from caffe_compat.layers.stored import StoredLayer

# Types that take scores and class labels -> the message with their axis, and the one with ignore_label
_LABELLED = {
    "SoftmaxWithLoss": ("softmax_param", "loss_param"),
    "Accuracy": ("accuracy_param", "accuracy_param"),
    "InfogainLoss": ("infogain_loss_param", "loss_param"),
    "MultinomialLogisticLoss": ("", ""),
    "HingeLoss": ("", ""),
}


def first_batch(layer: SourceLayer) -> Sequence[np.ndarray]:
    """The first batch of a layer whose data lies in files, or as much of it as is quickly had; nothing of others.

    Raises MissingDataError where an image that a list names is not here, DataError for whatever a run would refuse.
    """
    return layer.first_batch() if isinstance(layer, StoredLayer) else ()


def label_faults(
    graph: Graph, shapes: Mapping[Blob, Shape], values: Mapping[Blob, np.ndarray]
) -> Iterator[tuple[str, str]]:
    """(layer, message) for each layer whose scores have too few classes for the labels in `values`.

    values: the first batch of what sources give; labels that come from elsewhere are not looked at.
    """
    origin: dict[Blob, Blob] = {}
    for node in graph.nodes:
        if node.param.type == "Split" and node.bottoms:
            origin.update(dict.fromkeys(node.tops, origin.get(node.bottoms[0], node.bottoms[0])))
        if node.param.type not in _LABELLED or len(node.bottoms) < 2 or node.bottoms[0] not in shapes:
            continue
        labels = values.get(origin.get(node.bottoms[1], node.bottoms[1]))
        classes = _classes(node.param, shapes[node.bottoms[0]])
        if labels is None or not classes:
            continue
        found = np.trunc(labels[labels != _ignored(node.param)])
        wrong = found[(found < 0) | (found >= classes)]
        if wrong.size:
            yield node.name, f"layer '{node.name}': label {wrong[0]:g} of the first batch is not in 0 to {classes - 1}"


def is_missing(error: Exception) -> bool:
    """Whether data is not here, which says nothing of the net."""
    return isinstance(error, MissingDataError)


def _classes(param: Any, scores: Shape) -> int:
    message = _LABELLED[param.type][0]
    axis = getattr(param, message).axis if message else 1
    return scores[axis] if -len(scores) <= axis < len(scores) else 0


def _ignored(param: Any) -> float:
    """The label that does not count; NaN, which no label equals, where all do."""
    message = _LABELLED[param.type][1]
    fields = getattr(param, message) if message else None
    return float(fields.ignore_label) if fields is not None and fields.HasField("ignore_label") else float("nan")
