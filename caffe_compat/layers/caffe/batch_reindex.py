"""BatchReindex (batch_reindex_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

import torch
from torch import Tensor

from caffe_compat.errors import DataError, ShapeError
from caffe_compat.layers.base import Layer, Shape, exactly
from caffe_compat.layers.looped import shows_values
from caffe_compat.layers.registry import register


@register("BatchReindex")
class BatchReindex(Layer):
    """The items of bottom 0 (axis 0) that bottom 1 names, in that order; an item may come often or never."""

    bottoms = exactly(2)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape, index = bottom_shapes
        if len(index) != 1:
            raise ShapeError(
                f"layer '{self.name}': bottom 1 '{self.param.bottom[1]}' has shape {index}, wanted one axis of indices"
            )
        return [index + shape[1:]]

    def forward(self, *bottoms: Tensor) -> Tensor:
        x, index = bottoms[0], bottoms[1].detach().long()
        if index.numel() and shows_values():
            low, high = torch.stack(torch.aminmax(index)).tolist()
            if low < 0 or high >= x.shape[0]:
                raise DataError(
                    f"layer '{self.name}': bottom 1 '{self.param.bottom[1]}' holds index {low if low < 0 else high}, "
                    f"wanted 0 to {x.shape[0] - 1}"
                )
        return x.index_select(0, index)
