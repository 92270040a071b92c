"""STLoss and LocLoss (layer files of ALISCIFP/Segmentation, SpatialTransformerLayer)."""

from __future__ import annotations

import math

from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Shape, exactly
from caffe_compat.layers.forks.segmentation.spatial_transformer import moved_grid
from caffe_compat.layers.kinks import absolute
from caffe_compat.layers.loss import LossLayer
from caffe_compat.layers.registry import register


def beyond(values: Tensor, limit: float) -> Tensor:
    """(|x| - limit)^2 / 2 where |x| > limit, else 0."""
    return (absolute(values) - limit).clamp(min=0).square() / 2


@register("STLoss")
class STLoss(LossLayer):
    """The mean over an output_H x output_W grid of how far theta (N, 6) puts its places outside the image, squared."""

    bottoms = exactly(1)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        field = self.param.st_loss_param
        if math.prod(bottom_shapes[0][1:]) != 6:
            raise ShapeError(f"layer '{self.name}': bottom {bottom_shapes[0]}, wanted (N, 6)")
        if min(field.output_H, field.output_W) < 1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': st_loss_param.output_H and output_W must be positive"
            )
        return [()]

    def forward(self, *bottoms: Tensor) -> Tensor:
        field = self.param.st_loss_param
        grid = moved_grid(bottoms[0].reshape(-1, 2, 3), field.output_H, field.output_W)
        return beyond(grid, 1).sum() / (len(grid) * grid.shape[2])


@register("LocLoss")
class LocLoss(LossLayer):
    """The mean of (|x| - threshold)^2 / 2 where |x| is above the threshold, of 0 elsewhere."""

    bottoms = exactly(1)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        threshold = self.param.loc_loss_param.threshold
        if threshold <= 0:
            raise UnsupportedParameterError(
                f"layer '{self.name}': loc_loss_param.threshold is {threshold:g}; it must be positive"
            )
        return [()]

    def forward(self, *bottoms: Tensor) -> Tensor:
        return beyond(bottoms[0], self.param.loc_loss_param.threshold).mean()
