"""ROIAlign of MS-CNN: bilinear samples on a grid over each region (roi_align_layer.cpp of zhaoweicai/mscnn)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.base import Context, Shape
from caffe_compat.layers.fields import refuse_other_fields
from caffe_compat.layers.regions import RegionLayer
from caffe_compat.layers.registry import register


@register("ROIAlign")
class ROIAlign(RegionLayer):
    """Samples at the pooled_h + 1 by pooled_w + 1 corners of a region's bins; top (R, C, pooled_h + 1, pooled_w + 1).

    A region grows by pad_ratio of its size on each side. Samples outside the map, and those of a region without area,
    are 0. A MAX or AVE pooling layer with kernel 2 and stride 1 makes bins of them.
    """

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.roi_pooling_param
        refuse_other_fields(
            self.name, "roi_pooling_param", field, ("pooled_h", "pooled_w", "spatial_scale", "pad_ratio")
        )
        self.pooled: tuple[int, int] = (field.pooled_h, field.pooled_w)
        self.scale: float = field.spatial_scale
        self.pad_ratio: float = field.pad_ratio
        if min(self.pooled) < 1 or self.scale <= 0:
            raise UnsupportedParameterError(
                f"layer '{self.name}': roi_pooling_param.pooled_h {field.pooled_h}, pooled_w {field.pooled_w} and "
                f"spatial_scale {self.scale:g} must be positive"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        self.check_regions(bottom_shapes)
        return [(bottom_shapes[1][0], bottom_shapes[0][1], *(bins + 1 for bins in self.pooled))]

    def forward(self, *bottoms: Tensor) -> Tensor:
        features, rois = bottoms
        regions = self.regions(features, rois).to(features)
        start, end = regions[:, 1:3], regions[:, 3:5]
        pad = (end - start + 1) * self.pad_ratio
        start, end = (start - pad) * self.scale - 0.5, (end + pad) * self.scale - 0.5
        items = regions[:, 0].long()[:, None, None]
        solid = (end > start).all(1)
        rows, columns = (self._axis(start[:, axis], end[:, axis], self.pooled[1 - axis]) for axis in (1, 0))
        height, width = features.shape[2:]
        (top, bottom, down, inside_y), (left, right, across, inside_x) = (
            _neighbours(rows, height), _neighbours(columns, width)
        )  # fmt: skip
        down, across = down[:, :, None, None], across[:, None, :, None]
        planes = features.permute(0, 2, 3, 1)
        upper = planes[items, top[:, :, None], left[:, None]] * (1 - across)
        upper = upper + planes[items, top[:, :, None], right[:, None]] * across
        lower = planes[items, bottom[:, :, None], left[:, None]] * (1 - across)
        lower = lower + planes[items, bottom[:, :, None], right[:, None]] * across
        found = upper * (1 - down) + lower * down
        counts = inside_y[:, :, None] & inside_x[:, None] & solid[:, None, None]
        return torch.where(counts[..., None], found, 0).permute(0, 3, 1, 2)

    def _axis(self, start: Tensor, end: Tensor, bins: int) -> Tensor:
        """Where the corners of the bins lie: (R, bins + 1)."""
        steps = torch.arange(bins + 1, device=start.device, dtype=start.dtype)
        return start[:, None] + steps * ((end - start) / bins)[:, None]


def _neighbours(places: Tensor, extent: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The places before and behind each, its share of the latter, and whether it lies in the map."""
    inside = (places >= -0.5) & (places <= extent - 0.5)
    first = places.floor().long()
    before, behind = first.clamp(0, extent - 1), (first + 1).clamp(0, extent - 1)
    return before, behind, places.clamp(0, extent - 1) - before, inside
