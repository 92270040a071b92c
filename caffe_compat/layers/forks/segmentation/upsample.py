"""Upsample: SegNet's unpooling (upsample_layer.cpp of alexgkendall/caffe-segnet) and YOLO's repetition."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape
from caffe_compat.layers.looped import shows_values
from caffe_compat.layers.registry import register


@register("Upsample")
class Upsample(Layer):
    """With one bottom every value `scale` x `scale` times (YOLO forks); with two, SegNet's unpooling.

    Unpooling: each value goes to the place that bottom 1, the mask of a MAX pooling layer, names in its plane of the
    top; all else is 0. The plane is upsample_h x upsample_w, or the bottom's size times scale (scale_h, scale_w) less
    pad_out_h and pad_out_w (0 or 1).
    """

    bottoms = Count(1, 2)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.upsample_param
        self.size = (field.upsample_h, field.upsample_w)
        self.scale = (field.scale_h or field.scale, field.scale_w or field.scale)
        self.lost = (int(field.pad_out_h), int(field.pad_out_w))
        if min(self.scale) < 1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': upsample_param.scale is {self.scale[0]} x {self.scale[1]}; it must be positive"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        if len(shape) != 4:
            raise ShapeError(f"layer '{self.name}': a bottom of shape {shape} is not (N, C, H, W)")
        if len(bottom_shapes) == 2 and bottom_shapes[1] != shape:
            raise ShapeError(
                f"layer '{self.name}': the mask '{self.param.bottom[1]}' has shape {bottom_shapes[1]}, wanted {shape}"
            )
        if len(bottom_shapes) == 2 and min(self.size) > 0:
            return [(*shape[:2], *self.size)]
        lost = self.lost if len(bottom_shapes) == 2 else (0, 0)
        sizes = zip(shape[2:], self.scale, lost, strict=True)
        return [(*shape[:2], *(extent * scale - less for extent, scale, less in sizes))]

    def forward(self, *bottoms: Tensor) -> Tensor:
        x = bottoms[0]
        if len(bottoms) == 1:
            return x.repeat_interleave(self.scale[0], 2).repeat_interleave(self.scale[1], 3)
        shape = self.top_shapes([tuple(bottom.shape) for bottom in bottoms])[0]
        mask = bottoms[1].detach().flatten(2).long()
        plane = math.prod(shape[2:])
        if mask.numel() and shows_values() and (mask.min() < 0 or mask.max() >= plane):
            raise DataError(
                f"layer '{self.name}': mask '{self.param.bottom[1]}' names place {int(mask.max())} of a plane of "
                f"{plane}; give upsample_h and upsample_w of the pooling layer's bottom"
            )
        return torch.scatter(x.new_zeros((*shape[:2], plane)), 2, mask, x.flatten(2)).view(shape)
