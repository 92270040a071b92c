"""ROIPooling of Fast R-CNN (roi_pooling_layer.cpp of rbgirshick/caffe-fast-rcnn; pad_ratio of zhaoweicai/mscnn)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.base import Context, Shape
from caffe_compat.layers.fields import refuse_other_fields
from caffe_compat.layers.looped import shows_values
from caffe_compat.layers.regions import Bins, RegionLayer, filled, largest, rounded
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
        self.pad_ratio: float = field.pad_ratio
        self.pooled: tuple[int, int] = (field.pooled_h, field.pooled_w)
        self.spatial_scale: float = field.spatial_scale
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
        grown = regions[:, 1:] + torch.cat((-pad, pad), 1)
        corners = rounded(grown * self.spatial_scale).long()
        rows = _bins(corners[:, 1], corners[:, 3], self.pooled[0], features.shape[2])
        columns = _bins(corners[:, 0], corners[:, 2], self.pooled[1], features.shape[3])
        items = regions[:, 0].long()
        if not shows_values():
            found = largest(features, items, rows, columns)
            return torch.where(filled(rows, columns), found, 0)
        with torch.no_grad():
            places = self._maxima(features, items, rows, columns)
        found = features.reshape(-1)[places.clamp(min=0)]
        return torch.where(places >= 0, found, 0)

    def _maxima(self, features: Tensor, items: Tensor, rows: Bins, columns: Bins) -> Tensor:
        """Where in the flat (N, C, H, W) each maximum stands, int64 (R, C, pooled_h, pooled_w); -1 for empty bins."""
        channels, height, width = features.shape[1:]
        images = features.permute(0, 2, 3, 1).contiguous()
        places = torch.empty((len(items), *self.pooled, channels), dtype=torch.int64, device=features.device)
        for region, item in enumerate(items.tolist()):
            top, bottom = int(rows[0][region].min()), max(int(rows[1][region].max()), 1)
            across, down = (_steps(bins, region, features.device) for bins in (columns, rows))
            strip = images[item, min(top, bottom - 1) : bottom]
            values, column = _first_maxima(strip, across, 1)
            _, row = _first_maxima(values, down - min(top, bottom - 1), 0)
            column = column.gather(0, row)
            places[region] = (row + min(top, bottom - 1)) * width + column
        places += items.to(places).view(-1, 1, 1, 1) * channels * height * width
        places += torch.arange(channels, device=places.device) * (height * width)
        return torch.where(filled(rows, columns).to(features.device), places.permute(0, 3, 1, 2), -1)


def _bins(start: Tensor, end: Tensor, number: int, extent: int) -> Bins:
    size = (end - start + 1).clamp(min=1).float() / number
    steps = torch.arange(number + 1, dtype=torch.float32) * size[:, None]
    first, last = steps[:, :-1].floor().long() + start[:, None], steps[:, 1:].ceil().long() + start[:, None]
    return first.clamp(0, extent), last.clamp(0, extent)


def _steps(bins: Bins, region: int, device: torch.device) -> Tensor:
    """Step k is where the k-th row of every bin lies, its last one where it has fewer: int64 (longest bin, bins)."""
    first, last = bins[0][region], (bins[1][region] - 1).clamp(min=0)
    longest = max(1, int((last - first).max()) + 1)
    return torch.minimum(first + torch.arange(longest)[:, None], last).to(device)


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
