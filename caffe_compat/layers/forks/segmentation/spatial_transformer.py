"""SpatialTransformer (layer files of ALISCIFP/Segmentation, SpatialTransformerLayer).

Coordinates go from -1 to 1: row s of n lies at 2 s / n - 1. The row comes first in theta, as x.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer, Shape, exactly
from caffe_compat.layers.fields import given
from caffe_compat.layers.registry import register
from caffe_compat.layers.sampling import interpolated, pixels

_ENTRIES = tuple(f"theta_{row}_{column}" for row in (1, 2) for column in (1, 2, 3))


def moved_grid(theta: Tensor, height: int, width: int) -> Tensor:
    """Rows and columns (N, 2, height * width) that the affine maps theta (N, 2, 3) give to the places of a grid."""
    rows, columns = (torch.arange(size, device=theta.device).to(theta.dtype) * 2 / size - 1 for size in (height, width))
    grid = torch.stack((rows.repeat_interleave(width), columns.repeat(height), torch.ones_like(rows[:1]).expand(
        height * width)))  # fmt: skip
    return theta @ grid


@register("SpatialTransformer")
class SpatialTransformer(Layer):
    """Bottom 0 (N, C, H, W) read between its pixels where the affine map of its item puts each place of the top.

    Bottom 1: for each item what of theta, (2, 3) row by row, the fields theta_1_1 to theta_2_3 do not give. Outside
    counts 0. The top is output_H x output_W, by default H x W. to_compute_dU false: no gradient for bottom 0.
    """

    bottoms = exactly(2)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.st_param
        if (field.transform_type, field.sampler_type) != ("affine", "bilinear"):
            raise UnsupportedParameterError(
                f"layer '{self.name}': st_param has transform_type '{field.transform_type}' and sampler_type "
                f"'{field.sampler_type}'; only affine and bilinear are known"
            )
        self.fixed: list[float | None] = [given(field, name) for name in _ENTRIES]
        self.moves_back: bool = field.to_compute_dU

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape, theta = bottom_shapes
        free = self.fixed.count(None)
        if len(shape) != 4 or theta[:1] != shape[:1] or math.prod(theta[1:]) != free:
            raise ShapeError(
                f"layer '{self.name}': bottoms have shapes {shape} and {theta}, wanted (N, C, H, W) and (N, {free})"
            )
        field = self.param.st_param
        height, width = given(field, "output_H") or shape[2], given(field, "output_W") or shape[3]
        if min(height, width) < 1:
            raise UnsupportedParameterError(f"layer '{self.name}': st_param.output_H and output_W must be positive")
        return [(*shape[:2], height, width)]

    def forward(self, *bottoms: Tensor) -> Tensor:
        planes = bottoms[0] if self.moves_back else bottoms[0].detach()
        shape = self.top_shapes([tuple(bottom.shape) for bottom in bottoms])[0]
        free = iter(bottoms[1].flatten(1).unbind(1))
        theta = [next(free) if value is None else planes.new_full(shape[:1], value) for value in self.fixed]
        grid = moved_grid(torch.stack(theta, 1).view(-1, 2, 3), *shape[2:])
        row, column = ((grid[:, axis, None] + 1) / 2 * planes.shape[2 + axis] for axis in (0, 1))
        low = row.detach().floor(), column.detach().floor()
        high = low[0] + 1, low[1] + 1
        return interpolated(low, high, (row, column), partial(pixels, planes)).view(shape)
