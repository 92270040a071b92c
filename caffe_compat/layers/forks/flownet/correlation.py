"""Correlation, Correlation1D of FlowNet 2.0 (correlation_layer.cu, correlation_layer1d.cu of lmb-freiburg/flownet2)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer, Shape, exactly
from caffe_compat.layers.fields import enum_name
from caffe_compat.layers.registry import register


@register("Correlation")
class Correlation(Layer):
    """How well patches of bottom 0 fit patches of bottom 1 that are displaced by up to max_displacement.

    Top (N, D * D, H', W'), D displacements in y and x in steps of stride_2, y outside; a value is the mean, over the
    kernel_size^2 * C values of a patch, of products (MULTIPLY) or of absolute differences (SUBTRACT), places in steps
    of stride_1 of the bottoms padded by `pad`.
    """

    bottoms = exactly(2)
    rows = True  # whether patches are displaced in y too

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.correlation_param
        self.kernel: int = field.kernel_size
        self.reach: int = field.max_displacement
        self.pad: int = field.pad
        self.strides: tuple[int, int] = (field.stride_1, field.stride_2)
        self.multiplies = enum_name(field, "correlation_type") == "MULTIPLY"
        if self.kernel % 2 == 0 or min(self.strides) < 1 or not field.HasField("max_displacement"):
            raise UnsupportedParameterError(
                f"layer '{self.name}': correlation_param needs max_displacement, an odd kernel_size and positive "
                f"strides; found {self.reach}, {self.kernel} and {list(self.strides)}"
            )
        for name in ("do_abs", "single_direction"):
            if getattr(field, name):
                raise UnsupportedParameterError(f"layer '{self.name}': correlation_param.{name} is not implemented")

    @property
    def steps(self) -> list[tuple[int, int]]:
        """The displacements, y and x."""
        radius = self.reach // self.strides[1]
        along = [step * self.strides[1] for step in range(-radius, radius + 1)]
        return [(y, x) for y in (along if self.rows else [0]) for x in along]

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        a, b = bottom_shapes
        radius = self.kernel // 2
        border = (radius + (self.reach if self.rows else 0), radius + self.reach)
        if len(a) != 4 or a != b:
            raise ShapeError(f"layer '{self.name}': bottoms have shapes {a} and {b}, wanted one (N, C, H, W) for both")
        pads = (self.pad if self.rows else 0, self.pad)
        sizes = [
            math.ceil((size + 2 * pad - 2 * edge) / self.strides[0])
            for size, pad, edge in zip(a[2:], pads, border, strict=True)
        ]
        if min(sizes) < 1:
            raise ShapeError(f"layer '{self.name}': displacements of {self.reach} do not fit in a bottom of {a}")
        return [(a[0], len(self.steps), *sizes)]

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        return math.prod(top_shapes[0]) * self.kernel**2 * bottom_shapes[0][1]

    def forward(self, *bottoms: Tensor) -> Tensor:
        height, width = self.top_shapes([tuple(bottom.shape) for bottom in bottoms])[0][2:]
        pad_y, reach_y = (self.pad, self.reach) if self.rows else (0, 0)
        first, second = (functional.pad(bottom, (self.pad, self.pad, pad_y, pad_y)) for bottom in bottoms)
        extent_y, extent_x = ((size - 1) * self.strides[0] + self.kernel for size in (height, width))
        here = first[:, :, reach_y : reach_y + extent_y, self.reach : self.reach + extent_x]
        tops = []
        for y, x in self.steps:
            top, left = reach_y + y, self.reach + x
            there = second[:, :, top : top + extent_y, left : left + extent_x]
            values = here * there if self.multiplies else _distance(here - there)
            tops.append(functional.avg_pool2d(values.mean(1, keepdim=True), self.kernel, self.strides[0]))
        return torch.cat(tops, 1)


@register("Correlation1D")
class Correlation1D(Correlation):
    """Correlation along x alone: D displacements, no padding in y."""

    rows = False


def _distance(difference: Tensor) -> Tensor:
    """|difference|; the gradient at 0 is 1."""
    return torch.where(difference >= 0, difference, -difference)
