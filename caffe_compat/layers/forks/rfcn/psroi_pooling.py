"""PSROIPooling of R-FCN (psroi_pooling_layer.cu of daijifeng001/caffe-rfcn)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Shape
from caffe_compat.layers.regions import Bins, RegionLayer, rounded
from caffe_compat.layers.registry import register


@register("PSROIPooling")
class PSROIPooling(RegionLayer):
    """The mean in each of group_size^2 bins of a region; top (R, output_dim, group_size, group_size), empty bins 0.

    Bin (i, j) of output k is read from channel (k * group_size + i) * group_size + j.
    """

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.psroi_pooling_param
        self.outputs: int = field.output_dim
        self.group_size: int = field.group_size
        self.spatial_scale: float = field.spatial_scale
        if min(self.outputs, self.group_size) < 1 or self.spatial_scale <= 0:
            raise UnsupportedParameterError(
                f"layer '{self.name}': psroi_pooling_param.output_dim {self.outputs}, group_size {self.group_size} and "
                f"spatial_scale {self.spatial_scale:g} must be positive"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        self.check_regions(bottom_shapes)
        wanted = self.outputs * self.group_size**2
        if bottom_shapes[0][1] != wanted:
            raise ShapeError(
                f"layer '{self.name}': bottom '{self.param.bottom[0]}' has {bottom_shapes[0][1]} channels, wanted "
                f"{wanted}, output_dim * group_size^2"
            )
        return [(bottom_shapes[1][0], self.outputs, self.group_size, self.group_size)]

    def forward(self, *bottoms: Tensor) -> Tensor:
        features, rois = bottoms
        regions = self.regions(features, rois)
        start = rounded(regions[:, 1:3]) * self.spatial_scale
        end = (rounded(regions[:, 3:5]) + 1) * self.spatial_scale
        size = (end - start).clamp(min=0.1) / self.group_size
        device = features.device
        top, bottom = (edge.to(device) for edge in self._bins(start[:, 1], size[:, 1], features.shape[2]))
        left, right = (edge.to(device) for edge in self._bins(start[:, 0], size[:, 0], features.shape[3]))
        sums = torch.nn.functional.pad(features.double().cumsum(2).cumsum(3), (1, 0, 1, 0))
        item = regions[:, 0].long().to(device)[:, None, None, None]
        channel = torch.arange(features.shape[1], device=device).view(1, self.outputs, self.group_size, self.group_size)
        top, bottom = top[:, None, :, None], bottom[:, None, :, None]
        left, right = left[:, None, None, :], right[:, None, None, :]
        total = sums[item, channel, bottom, right] - sums[item, channel, top, right]
        total = total - sums[item, channel, bottom, left] + sums[item, channel, top, left]
        area = (bottom - top).clamp(min=0) * (right - left).clamp(min=0)
        return torch.where(area > 0, total / area.clamp(min=1), 0).to(features.dtype)

    def _bins(self, start: Tensor, size: Tensor, extent: int) -> Bins:
        steps = torch.arange(self.group_size + 1, dtype=torch.float32) * size[:, None] + start[:, None]
        first, last = steps[:, :-1].floor().long(), steps[:, 1:].ceil().long()
        return first.clamp(0, extent), last.clamp(0, extent)
