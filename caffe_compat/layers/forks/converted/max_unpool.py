"""MaxUnPool (maxunpool_layer.cpp of inisis/caffe)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer, Shape, exactly
from caffe_compat.layers.looped import shows_values
from caffe_compat.layers.registry import register


@register("MaxUnPool")
class MaxUnPool(Layer):
    """Each value goes to the place that bottom 1, the mask of a MAX pooling layer, names in its plane; all else is 0.

    Bottoms (N, C, H, W) both, top (N, C, dst_h, dst_w). Of several values for one place the last counts. The fork's
    Backward on the CPU does nothing; here each value gets the gradient of its place.
    """

    bottoms = exactly(2)
    works_in_place = False

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.max_unpool_param
        self.size = (field.dst_h, field.dst_w)
        if min(self.size) < 1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': max_unpool_param.dst_h and dst_w are {self.size[0]} and {self.size[1]}; both "
                "must be given and positive"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape, mask = bottom_shapes
        if len(shape) != 4 or mask != shape:
            raise ShapeError(
                f"layer '{self.name}': bottoms have shapes {shape} and {mask}, wanted (N, C, H, W) for both, the same"
            )
        return [(*shape[:2], *self.size)]

    def forward(self, *bottoms: Tensor) -> Tensor:
        x, mask = bottoms[0], bottoms[1].detach().flatten(2).long()
        plane = self.size[0] * self.size[1]
        if mask.numel() and shows_values() and (mask.min() < 0 or mask.max() >= plane):
            wrong = int(mask.min()) if mask.min() < 0 else int(mask.max())
            raise DataError(
                f"layer '{self.name}': mask '{self.param.bottom[1]}' names place {wrong} of a plane of {plane}; give "
                "dst_h and dst_w of the pooling layer's bottom"
            )
        top = torch.scatter(x.new_zeros((*x.shape[:2], plane)), 2, mask, x.flatten(2))
        return top.view(*x.shape[:2], *self.size)
