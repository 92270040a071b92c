"""PassThrough (pass_through_layer.cpp and reorganize_layer.cpp of winggan/caffe): space to depth."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer, Shape
from caffe_compat.layers.registry import register


@register("PassThrough")
class PassThrough(Layer):
    """Row r, column c of every block_height x block_width block of channel k becomes channel (r width + c) C + k.

    (N, C, H, W) to (N, C * block_height * block_width, H / block_height, W / block_width). num_output, which that fork
    refuses and HiSilicon's tools write, must be the number of channels that come of it.
    """

    works_in_place = False

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.pass_through_param
        self.block = (field.block_height, field.block_width)
        self.num_output: int = field.num_output
        if min(self.block) < 1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': pass_through_param.block_height and block_width are {self.block[0]} and "
                f"{self.block[1]}; both must be given and positive"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape, (height, width) = bottom_shapes[0], self.block
        if len(shape) != 4 or shape[2] % height or shape[3] % width:
            raise ShapeError(
                f"layer '{self.name}': a bottom of shape {shape} cannot be cut into blocks of {height} x {width}; "
                f"wanted (N, C, H, W), H a multiple of {height} and W of {width}"
            )
        channels = shape[1] * height * width
        if self.num_output not in (0, channels):
            raise ShapeError(
                f"layer '{self.name}': pass_through_param.num_output is {self.num_output}, and blocks of {height} x "
                f"{width} make {channels} channels of {shape[1]}; give {channels}, or leave num_output out"
            )
        return [(shape[0], channels, shape[2] // height, shape[3] // width)]

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        number, channels, rows, columns = x.shape
        height, width = self.block
        blocks = x.reshape(number, channels, rows // height, height, columns // width, width)
        return blocks.permute(0, 3, 5, 1, 2, 4).reshape(self.top_shapes([tuple(x.shape)])[0])
