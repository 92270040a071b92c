"""Class labels as a loss or a metric reads them: floats in, checked class indices out."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from caffe_compat.errors import DataError, ShapeError
from caffe_compat.layers.base import Layer, Shape
from caffe_compat.layers.looped import shows_values


def check_label_count(layer: Layer, label: Shape, wanted: Shape) -> None:
    """ShapeError unless `label` holds one value for each place of `wanted`, the scores without class axis."""
    if math.prod(label) != math.prod(wanted):
        raise ShapeError(
            f"layer '{layer.name}': label '{layer.param.bottom[1]}' has shape {label}, wanted one label for each of "
            f"{math.prod(wanted)} predictions, e.g. shape {wanted}"
        )


def class_labels(
    layer: Layer, label: Tensor, shape: Shape, classes: int, ignore: int | None
) -> tuple[Tensor, Tensor | None]:
    """The labels as int64 of `shape`, fractions cut off, and where they count (None: everywhere).

    Labels equal to `ignore` become class 0, so that they can index. DataError for any other outside 0 to classes - 1:
    Caffe reads outside its memory there. Programs of torch.export, CUDA graphs being recorded and torch.func.vmap
    cannot look at values, and do without the check.
    """
    index = label.detach().reshape(shape).long()
    counts = None
    if ignore is not None:
        counts = index != ignore
        index = torch.where(counts, index, 0)
    recorded = index.is_cuda and torch.cuda.is_current_stream_capturing()
    if index.numel() and not recorded and shows_values():
        low, high = torch.stack(torch.aminmax(index)).tolist()
        if low < 0 or high >= classes:
            raise DataError(
                f"layer '{layer.name}': label '{layer.param.bottom[1]}' holds {low if low < 0 else high}, wanted "
                f"0 to {classes - 1}, for the scores have {classes} classes"
            )
    return index, counts
