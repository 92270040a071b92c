"""CropCenter (crop_center_layer.cpp of lltcggie/caffe, the fork of waifu2x-caffe)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Context, Layer, Shape
from caffe_compat.layers.registry import register


@register("CropCenter")
class CropCenter(Layer):
    """The bottom without the first and last crop_size[k] values of each axis k (waifu2x-caffe's fork)."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.lost: tuple[int, ...] = tuple(param.crop_center_param.crop_size)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        sizes = [size - 2 * lost for size, lost in zip(shape, self.lost, strict=False)]
        if len(self.lost) > len(shape) or min(sizes, default=1) < 1:
            raise ShapeError(
                f"layer '{self.name}': crop_center_param.crop_size {list(self.lost)} leaves nothing of a bottom of "
                f"shape {shape}"
            )
        return [(*sizes, *shape[len(sizes) :])]

    def forward(self, *bottoms: Tensor) -> Tensor:
        ends = zip(self.lost, bottoms[0].shape, strict=False)
        return bottoms[0][tuple(slice(lost, size - lost) for lost, size in ends)]
