"""ShuffleChannel of ShuffleNet (shuffle_channel_layer.cpp of farmingyard/ShuffleNet)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer, Shape
from caffe_compat.layers.registry import register


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
