"""What layers have in common that pool regions of a map (roi_pooling_layer.cpp of rbgirshick/caffe-fast-rcnn)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from caffe_compat.errors import DataError, ShapeError
from caffe_compat.layers.base import Layer, Shape, exactly
from caffe_compat.layers.looped import shows_values

Bins = tuple[Tensor, Tensor]  # first and one past the last row (or column) of every bin: int64 (R, bins)


def rounded(values: Tensor) -> Tensor:
    """C's round of float32 values: halves go away from zero."""
    exact = values.double()
    return (exact + torch.full_like(exact, 0.5).copysign(exact)).trunc().float()


def filled(rows: Bins, columns: Bins) -> Tensor:
    """Which bins have a place in them: (R, 1, rows, columns)."""
    down, across = (last > first for first, last in (rows, columns))
    return (down[:, :, None] & across[:, None, :]).unsqueeze(1)


def largest(features: Tensor, items: Tensor, rows: Bins, columns: Bins) -> Tensor:
    """The largest value in each bin of item `items` (R), by operators whose shapes no value decides.

    A bin is the union of four windows whose sides are powers of two, one in each of its corners; the maxima of all such
    windows of the map come first, in log2(H) * log2(W) maps. features (N, C, H, W); the result (R, C, rows, columns),
    of which bins without a place have no meaning.
    """
    maps = [features.permute(0, 2, 3, 1)]
    for axis in (1, 2):
        maps = [wider for each in maps for wider in _widened(each, axis)]
    levels = [size.bit_length() for size in features.shape[2:]]
    windows = torch.stack(maps).reshape(*levels, *maps[0].shape)
    (level_down, *down), (level_across, *across) = (
        _corners(*bins, size) for bins, size in zip((rows, columns), features.shape[2:], strict=True)
    )
    where = level_down[:, :, None], level_across[:, None], items[:, None, None]
    corners = [windows[(*where, row[:, :, None], column[:, None])] for row in down for column in across]
    return torch.stack(corners).amax(0).permute(0, 3, 1, 2)


def _widened(values: Tensor, axis: int) -> list[Tensor]:
    """The maxima of windows of 1, 2, 4, .. places along `axis` that begin at each place, shaped as `values`."""
    found, extent = [values], values.shape[axis]
    for level in range(extent.bit_length() - 1):
        last, step = found[-1], 1 << level
        behind = last.narrow(axis, step, extent - step)
        found.append(
            torch.cat(
                (torch.maximum(last.narrow(axis, 0, extent - step), behind), last.narrow(axis, extent - step, step)),
                axis,
            )
        )
    return found


def _corners(first: Tensor, last: Tensor, extent: int) -> tuple[Tensor, Tensor, Tensor]:
    """The level of the widest window in each bin, where the first and the last such begin: int64 (R, bins)."""
    powers = 2 ** torch.arange(1, extent.bit_length())
    level = ((last - first).unsqueeze(-1) >= powers).sum(-1)
    return level, first.clamp(max=extent - 1), (last - 2**level).clamp(min=0)


class RegionLayer(Layer):
    """Pools regions of bottom 0, (N, C, H, W); bottom 1 has a row (item, x1, y1, x2, y2) for each, in image pixels."""

    bottoms = exactly(2)

    def check_regions(self, bottom_shapes: list[Shape]) -> None:
        features, regions = bottom_shapes
        if len(features) != 4 or int(np.prod(regions[1:])) != 5:
            raise ShapeError(
                f"layer '{self.name}': bottoms have shapes {features} and {regions}, wanted (N, C, H, W) and (R, 5)"
            )

    def regions(self, features: Tensor, rois: Tensor) -> Tensor:
        """The regions as float32 (R, 5), on the CPU; DataError where one names an item that is not in the batch."""
        rows = rois.detach().reshape(-1, 5).cpu().float()
        if not shows_values():
            return rows
        items = rows[:, 0].long()
        if len(rows) and (items.min() < 0 or items.max() >= features.shape[0]):
            raise DataError(
                f"layer '{self.name}': '{self.param.bottom[1]}' names item {int(items.max())}, wanted 0 to "
                f"{features.shape[0] - 1}"
            )
        return rows
