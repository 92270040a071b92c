"""Reorg of YOLO (reorg_layer.cpp of eric612/MobileNet-YOLO and intel/caffe)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer, Shape
from caffe_compat.layers.registry import register


@register("Reorg")
class Reorg(Layer):
    """Darknet's reorg (reorg_layer.cpp of MobileNet-YOLO and intel/caffe), s the stride; C a multiple of s^2.

    (N, C, H, W) to (N, C s^2, H / s, W / s): the bottom's memory is read as (N, C / s^2, H s, W s); row r and column c
    of every s x s square of its channel k become channel (r s + c) C / s^2 + k of an (N, C, H, W) memory, which is then
    read in the shape of the top. `reverse` is the way back: channel (r s + c) C / s^2 + k of the bottom fills those
    places, and the top is (N, C / s^2, H s, W s). The gradient is the derivative; the forks' own Backward reads a blob
    that nothing fills.
    """

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.stride: int = param.reorg_param.stride
        self.reverse: bool = param.reorg_param.reverse
        if self.stride < 1:
            raise UnsupportedParameterError(f"layer '{self.name}': reorg_param.stride is 0; it must be positive")

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape, square = bottom_shapes[0], self.stride**2
        uneven = not self.reverse and len(shape) == 4 and (shape[2] % self.stride or shape[3] % self.stride)
        if len(shape) != 4 or shape[1] % square or uneven:
            sides = "" if self.reverse else f", H and W of {self.stride}"
            raise ShapeError(
                f"layer '{self.name}': a bottom of shape {shape} cannot be reorganised with stride {self.stride}; "
                f"wanted (N, C, H, W), C a multiple of {square}{sides}"
            )
        if self.reverse:
            return [(shape[0], shape[1] // square, shape[2] * self.stride, shape[3] * self.stride)]
        return [(shape[0], shape[1] * square, shape[2] // self.stride, shape[3] // self.stride)]

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        number, channels, height, width = x.shape
        stride, planes = self.stride, channels // self.stride**2
        if self.reverse:
            laid_out = x.reshape(number, stride, stride, planes, height, width).permute(0, 3, 4, 1, 5, 2)
        else:
            laid_out = x.reshape(number, planes, height, stride, width, stride).permute(0, 3, 5, 1, 2, 4)
        return laid_out.reshape(self.top_shapes([tuple(x.shape)])[0])
