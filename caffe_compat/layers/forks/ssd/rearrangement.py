"""Layers of the forks that give the values of a blob another order: Permute, ShuffleChannel, Reorg."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer, Shape
from caffe_compat.layers.registry import register


@register("Permute")
class Permute(Layer):
    """The axes of the bottom in the order `permute_param.order`, those not named behind (permute_layer.cpp of SSD)."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.order: tuple[int, ...] = tuple(param.permute_param.order)
        if len(set(self.order)) != len(self.order):
            raise UnsupportedParameterError(
                f"layer '{self.name}': permute_param.order {list(self.order)} has duplicates"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        if any(axis >= len(shape) for axis in self.order):
            raise ShapeError(
                f"layer '{self.name}': permute_param.order {list(self.order)} names axes that a bottom of shape "
                f"{shape} does not have"
            )
        return [tuple(shape[axis] for axis in self._axes(len(shape)))]

    def forward(self, *bottoms: Tensor) -> Tensor:
        return bottoms[0].permute(self._axes(bottoms[0].dim()))

    def _axes(self, number: int) -> tuple[int, ...]:
        return (*self.order, *(axis for axis in range(number) if axis not in self.order))


@register("ShuffleChannel")
class ShuffleChannel(Layer):
    """Channels dealt out from `group` piles: channel i of pile g becomes i * group + g (farmingyard/ShuffleNet)."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.group: int = param.shuffle_channel_param.group
        if self.group < 1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': shuffle_channel_param.group is 0; it must be positive"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        if len(shape) < 2 or shape[1] % self.group:
            raise ShapeError(
                f"layer '{self.name}': the channels of a bottom of shape {shape} cannot be divided into {self.group} "
                "groups"
            )
        return [shape]

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        number, channels, *size = x.shape
        piles = x.reshape(number, self.group, channels // self.group, *size)
        return piles.transpose(1, 2).reshape(x.shape)


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
