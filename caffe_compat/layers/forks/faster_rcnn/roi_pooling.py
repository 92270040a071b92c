"""ROIPooling of Fast R-CNN (roi_pooling_layer.cpp of rbgirshick/caffe-fast-rcnn; pad_ratio of zhaoweicai/mscnn)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.base import Context, Shape
from caffe_compat.layers.fields import refuse_other_fields
from caffe_compat.layers.regions import Bins, RegionLayer, rounded
from caffe_compat.layers.registry import register


@register("ROIPooling")
class ROIPooling(RegionLayer):
    """The maximum in each of pooled_h x pooled_w bins of a region; top (R, C, pooled_h, pooled_w), empty bins 0.

    The gradient goes to the first maximum in row-major order. pad_ratio (MS-CNN's fork): a region grows by that share
    of its size on each side.
    """

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.roi_pooling_param
        refuse_other_fields(
            self.name, "roi_pooling_param", field, ("pooled_h", "pooled_w", "spatial_scale", "pad_ratio")
        )
        self.pad_ratio = np.float32(field.pad_ratio)
        self.pooled: tuple[int, int] = (field.pooled_h, field.pooled_w)
        self.spatial_scale = np.float32(field.spatial_scale)
        if min(self.pooled) < 1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': roi_pooling_param.pooled_h {self.pooled[0]} and pooled_w {self.pooled[1]} must "
                "be positive"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        self.check_regions(bottom_shapes)
        return [(bottom_shapes[1][0], bottom_shapes[0][1], *self.pooled)]

    def forward(self, *bottoms: Tensor) -> Tensor:
        features, rois = bottoms
        regions = self.regions(features, rois)
        pad = (regions[:, 3:5] - regions[:, 1:3] + 1) * self.pad_ratio
        grown = regions[:, 1:] + np.concatenate((-pad, pad), 1)
        corners = rounded(grown * self.spatial_scale).astype(np.int64)
        rows = self._bins(corners[:, 1], corners[:, 3], self.pooled[0], features.shape[2])
        columns = self._bins(corners[:, 0], corners[:, 2], self.pooled[1], features.shape[3])
        with torch.no_grad():
            places = self._maxima(features, regions[:, 0].astype(np.int64), rows, columns)
        found = features.reshape(-1)[places.clamp(min=0)]
        return torch.where(places >= 0, found, 0)

    def _bins(self, start: np.ndarray, end: np.ndarray, number: int, extent: int) -> Bins:
        size = np.maximum(end - start + 1, 1).astype(np.float32) / np.float32(number)
        steps = np.arange(number + 1, dtype=np.float32) * size[:, None]
        first = np.floor(steps[:, :-1]).astype(np.int64) + start[:, None]
        last = np.ceil(steps[:, 1:]).astype(np.int64) + start[:, None]
        return first.clip(0, extent), last.clip(0, extent)

    def _maxima(self, features: Tensor, items: np.ndarray, rows: Bins, columns: Bins) -> Tensor:
        """Where in the flat (N, C, H, W) each maximum stands, int64 (R, C, pooled_h, pooled_w); -1 for empty bins."""
        channels, height, width = features.shape[1:]
        images = features.permute(0, 2, 3, 1).contiguous()
        places = torch.empty((len(items), *self.pooled, channels), dtype=torch.int64, device=features.device)
        filled = [torch.from_numpy(last > first).to(features.device) for first, last in (rows, columns)]
        for region, item in enumerate(items.tolist()):
            top, bottom = int(rows[0][region].min()), max(int(rows[1][region].max()), 1)
            across, down = (_steps(bins, region, features.device) for bins in (columns, rows))
            strip = images[item, min(top, bottom - 1) : bottom]
            values, column = _first_maxima(strip, across, 1)
            _, row = _first_maxima(values, down - min(top, bottom - 1), 0)
            column = column.gather(0, row)
            places[region] = (row + min(top, bottom - 1)) * width + column
        places += torch.from_numpy(items).to(places).view(-1, 1, 1, 1) * channels * height * width
        places += torch.arange(channels, device=places.device) * (height * width)
        places = torch.where((filled[0][:, :, None] & filled[1][:, None, :]).unsqueeze(3), places, -1)
        return places.permute(0, 3, 1, 2)


def _steps(bins: Bins, region: int, device: torch.device) -> Tensor:
    """Step k is where the k-th row of every bin lies, its last one where it has fewer: int64 (longest bin, bins)."""
    first, last = bins[0][region], np.maximum(bins[1][region] - 1, 0)
    longest = max(1, int((last - first).max()) + 1)
    return torch.from_numpy(np.minimum(first + np.arange(longest)[:, None], last)).to(device)


def _first_maxima(values: Tensor, steps: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The largest value of every bin along `axis` and where the first such one lies."""
    shape = [1] * values.dim()
    shape[axis] = -1
    best = values.index_select(axis, steps[0])
    place = steps[0].view(shape).expand(best.shape)
    for step in steps[1:]:
        value = values.index_select(axis, step)
        better = value > best
        best, place = torch.where(better, value, best), torch.where(better, step.view(shape), place)
    return best, place
