"""Reverse and ReverseTime (reverse_layer.cpp, reverse_time_layer.cpp of senlinuc/caffe_ocr and tianzhi0549/CTPN)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Context, Elementwise, Layer, Shape, exactly
from caffe_compat.layers.registry import register


@register("Reverse")
class Reverse(Elementwise):
    """The values along reverse_param.axis from the last to the first (reverse_layer.cpp)."""

    works_in_place = False

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.axis: int = param.reverse_param.axis

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        if not 0 <= self.axis < len(bottom_shapes[0]):
            raise ShapeError(
                f"layer '{self.name}': reverse_param.axis {self.axis} is out of range for a bottom of shape "
                f"{bottom_shapes[0]}"
            )
        return super().top_shapes(bottom_shapes)

    def forward(self, *bottoms: Tensor) -> Tensor:
        return bottoms[0].flip(self.axis)


@register("ReverseTime")
class ReverseTime(Layer):
    """Each sequence of bottom 0, (T, N, ...), reversed up to its own length, the N values of bottom 1.

    What lies behind is 0, or stays as it is with reverse_time_param.copy_remaining (reverse_time_layer.cpp).
    """

    bottoms = exactly(2)
    works_in_place = False

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        x, lengths = bottom_shapes
        if len(x) < 2 or math.prod(lengths) != x[1]:
            raise ShapeError(f"layer '{self.name}': bottoms {x} and {lengths}, wanted (T, N, ...) and N lengths")
        return [x]

    def forward(self, *bottoms: Tensor) -> Tensor:
        x, lengths = bottoms
        step = torch.arange(x.shape[0], device=x.device)[:, None]
        ends = lengths.detach().reshape(1, -1).long().clamp(0, x.shape[0])
        inside = step < ends
        source = torch.where(inside, ends - 1 - step, step)
        wide = (*source.shape, *[1] * (x.dim() - 2))
        found = x.gather(0, source.view(wide).expand(x.shape))
        return found if self.param.reverse_time_param.copy_remaining else found * inside.view(wide)
