"""ROIPooling of Fast R-CNN (roi_pooling_layer.cpp) and PSROIPooling of R-FCN (psroi_pooling_layer.cu)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer, Shape, exactly
from caffe_compat.layers.fields import refuse_other_fields
from caffe_compat.layers.registry import register

Bins = tuple[np.ndarray, np.ndarray]  # first and one past the last row (or column) of every bin: int64 (R, bins)


def rounded(values: np.ndarray) -> np.ndarray:
    """C's round: halves go away from zero."""
    nearest: np.ndarray = np.trunc(values.astype(np.float64) + np.copysign(0.5, values))
    return nearest.astype(np.float32)


class RegionLayer(Layer):
    """Pools regions of bottom 0, (N, C, H, W); bottom 1 has a row (item, x1, y1, x2, y2) for each, in image pixels."""

    bottoms = exactly(2)

    def check_regions(self, bottom_shapes: list[Shape]) -> None:
        features, regions = bottom_shapes
        if len(features) != 4 or int(np.prod(regions[1:])) != 5:
            raise ShapeError(
                f"layer '{self.name}': bottoms have shapes {features} and {regions}, wanted (N, C, H, W) and (R, 5)"
            )

    def regions(self, features: Tensor, rois: Tensor) -> np.ndarray:
        """The regions as float32 (R, 5); DataError where one names an item that is not in the batch."""
        rows = rois.detach().reshape(-1, 5).cpu().numpy().astype(np.float32)
        items = rows[:, 0].astype(np.int64)
        if len(rows) and (items.min() < 0 or items.max() >= features.shape[0]):
            raise DataError(
                f"layer '{self.name}': '{self.param.bottom[1]}' names item {items.max()}, wanted 0 to "
                f"{features.shape[0] - 1}"
            )
        return rows


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
        self.spatial_scale = np.float32(field.spatial_scale)
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
        size = np.maximum(end - start, np.float32(0.1)) / np.float32(self.group_size)
        device = features.device
        top, bottom = (
            torch.from_numpy(edge).to(device) for edge in self._bins(start[:, 1], size[:, 1], features.shape[2])
        )
        left, right = (
            torch.from_numpy(edge).to(device) for edge in self._bins(start[:, 0], size[:, 0], features.shape[3])
        )
        sums = torch.nn.functional.pad(features.double().cumsum(2).cumsum(3), (1, 0, 1, 0))
        item = torch.from_numpy(regions[:, 0].astype(np.int64)).to(device)[:, None, None, None]
        channel = torch.arange(features.shape[1], device=device).view(1, self.outputs, self.group_size, self.group_size)
        top, bottom = top[:, None, :, None], bottom[:, None, :, None]
        left, right = left[:, None, None, :], right[:, None, None, :]
        total = sums[item, channel, bottom, right] - sums[item, channel, top, right]
        total = total - sums[item, channel, bottom, left] + sums[item, channel, top, left]
        area = (bottom - top).clamp(min=0) * (right - left).clamp(min=0)
        return torch.where(area > 0, total / area.clamp(min=1), 0).to(features.dtype)

    def _bins(self, start: np.ndarray, size: np.ndarray, extent: int) -> Bins:
        steps = np.arange(self.group_size + 1, dtype=np.float32) * size[:, None] + start[:, None]
        first, last = np.floor(steps[:, :-1]).astype(np.int64), np.ceil(steps[:, 1:]).astype(np.int64)
        return first.clip(0, extent), last.clip(0, extent)
