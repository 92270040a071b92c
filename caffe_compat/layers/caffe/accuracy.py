"""Accuracy (accuracy_layer.cpp)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape, exactly
from caffe_compat.layers.fields import given
from caffe_compat.layers.labels import check_label_count, class_labels
from caffe_compat.layers.registry import register


def _better_where_ties_lose(scores: Tensor, true: Tensor, index: Tensor) -> Tensor:
    """Caffe 1.0: how many other classes score at least as much as the true one; every tie counts against it."""
    return (scores >= true).sum(1, keepdim=True) - 1


def _better_where_ties_go_up(scores: Tensor, true: Tensor, index: Tensor) -> Tensor:
    """The paper's fork: how many classes rank before the true one; a tie goes to the larger class index."""
    classes = torch.arange(scores.shape[1], device=scores.device).unsqueeze(1)
    return ((scores > true) | ((scores == true) & (classes > index))).sum(1, keepdim=True)


BETTER = {"bvlc": _better_where_ties_lose, "wen2017": _better_where_ties_go_up}


@register("Accuracy")
class Accuracy(Layer):
    """The share of labels among the `top_k` best scores; tie rules as `compat` says. No gradient.

    Bottoms: scores with classes along accuracy_param.axis, and one label for each other place. Tops: the accuracy (a
    scalar), and if asked for that of each class, shape (classes,), 0 for a class without labels.
    """

    gradient = "none"
    bottoms = exactly(2)
    tops = Count(1, 2)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.accuracy_param
        self.top_k: int = field.top_k
        self.axis: int = field.axis
        self.ignore_label: int | None = given(field, "ignore_label")

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        scores, label = bottom_shapes
        axis = self.canonical_axis(self.axis, scores, "accuracy_param.axis")
        check_label_count(self, label, scores[:axis] + scores[axis + 1 :])
        if not 1 <= self.top_k <= scores[axis]:
            raise UnsupportedParameterError(
                f"layer '{self.name}': accuracy_param.top_k is {self.top_k}; it must be 1 to {scores[axis]}, the "
                "number of classes"
            )
        return [(), (scores[axis],)][: len(self.param.top)]

    @torch.no_grad()
    def forward(self, *bottoms: Tensor) -> Any:
        scores, label = bottoms
        axis = self.axis % scores.dim()
        shape = tuple(scores.shape)
        index, counts = class_labels(self, label, shape[:axis] + shape[axis + 1 :], shape[axis], self.ignore_label)
        scores = scores.flatten(axis + 1) if axis + 1 < scores.dim() else scores.unsqueeze(-1)
        scores = scores.flatten(0, axis - 1) if axis > 0 else scores.unsqueeze(0)
        index = index.reshape(scores.shape[0], 1, scores.shape[2])
        better = BETTER[self.context.compat](scores, scores.gather(1, index), index)
        correct = (better < self.top_k).flatten().to(scores.dtype)
        weight = torch.ones_like(correct) if counts is None else counts.flatten().to(scores.dtype)
        correct = correct * weight
        total = weight.sum()
        accuracy = correct.sum() / total  # 0 / 0, NaN, when every label is ignored, where Caffe 1.0 gives 0
        if self.context.compat == "bvlc":
            accuracy = torch.where(total == 0, 0.0, accuracy)
        if len(self.param.top) == 1:
            return accuracy
        zeros = scores.new_zeros(shape[axis])
        hits = zeros.index_add(0, index.flatten(), correct)
        labels = zeros.index_add(0, index.flatten(), weight)
        return accuracy, hits / labels.clamp(min=1)
