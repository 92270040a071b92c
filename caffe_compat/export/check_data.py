"""What a check looks at in the data that a net names: its files, their first records, and their labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Labels:
    """values: (records, ...) in the order of the source. batch: records of the first batch. looked: how many, and of
    how many where those are not all; empty for all.
    """

    values: np.ndarray
    batch: int
    looked: str


def source_labels(layer: SourceLayer, first: Sequence[np.ndarray]) -> dict[int, Labels]:
    """Number of a top -> the labels that it may give, for a layer whose data lies in files and begins with `first`.

    Raises DataError where a record on the way is damaged.
    """
    stored = layer.stored_labels() if isinstance(layer, StoredLayer) else None
    if stored is None or not stored.seen:
        return {}
    count = "many" if stored.records is None else f"{stored.records:,}"
    found = {
        top: Labels(each, len(each), f"the first {len(each)} of {count} records") for top, each in enumerate(first)
    }
    looked = "" if stored.is_all else f"the first {stored.seen:,} of {count} records"
    batch = layer.top_shapes([])[0][0]
    return found | {top: Labels(values, batch, looked) for top, values in stored.values.items()}


def label_faults(
    graph: Graph, shapes: Mapping[Blob, Shape], labels: Mapping[Blob, Labels]
) -> Iterator[tuple[str, str, bool]]:
    """(layer, message, whether it is a problem) for each layer whose scores have too few classes for its `labels`.

    labels: of what sources give; those that come from elsewhere are not looked at. Where not all were, a note says so.
    """
    origin: dict[Blob, Blob] = {}
    for node in graph.nodes:
        if node.param.type == "Split" and node.bottoms:
            origin.update(dict.fromkeys(node.tops, origin.get(node.bottoms[0], node.bottoms[0])))
        if node.param.type not in _LABELLED or len(node.bottoms) < 2 or node.bottoms[0] not in shapes:
            continue
        found = labels.get(origin.get(node.bottoms[1], node.bottoms[1]))
        classes = _classes(node.param, shapes[node.bottoms[0]])
        if found is None or not classes:
            continue
        fault = _fault(found, classes, _ignored(node.param))
        if fault:
            yield node.name, f"layer '{node.name}': {fault}", True
        elif found.looked:
            message = f"layer '{node.name}': the labels of {found.looked} were looked at; all are in 0 to {classes - 1}"
            yield node.name, message, False


def _fault(labels: Labels, classes: int, ignored: float) -> str:
    """What is wrong with the labels for so many classes: the first that is none, where it stands, and how many are."""
    values = np.trunc(labels.values)
    wrong = ((values < 0) | (values >= classes)) & (labels.values != ignored)
    if not wrong.any():
        return ""
    first = np.argwhere(wrong)[0]
    where = "the first batch" if first[0] < labels.batch else f"record {first[0]}"
    records = int(wrong.reshape(len(wrong), -1).any(1).sum())
    among = labels.looked or f"{len(wrong):,} records"
    more = f"; {records:,} of {among} have such labels" if records > 1 else ""
    return f"label {values[tuple(first)]:g} of {where} is not in 0 to {classes - 1}{more}"


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
