"""What layers have in common that pool regions of a map (roi_pooling_layer.cpp of rbgirshick/caffe-fast-rcnn)."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from caffe_compat.errors import DataError, ShapeError
from caffe_compat.layers.base import Layer, Shape, exactly

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
