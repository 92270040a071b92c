"""Local (local_layer.cpp of happynear/caffe-windows): a convolution with weights of its own at each place."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor
from torch.nn import functional

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer, Shape
from caffe_compat.layers.registry import register
from caffe_compat.layers.windows import Windows, check_output, convolved_size


@register("Local")
class Local(Layer):
    """A 2-D convolution in which every place of the top has its own weights.

    Blobs: weight (num_output, 1, C * kernel_size^2, places) and bias (1, 1, num_output, places), places counted row by
    row; the size of the bottom is fixed with them.
    """

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.field = field = param.local_param
        if min(field.num_output, field.kernel_size, field.stride) < 1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': local_param has num_output {field.num_output}, kernel_size {field.kernel_size} "
                f"and stride {field.stride}; each must be positive"
            )
        self.windows = Windows((field.kernel_size,) * 2, (field.stride,) * 2, (field.pad,) * 2, (1, 1))

    def setup(self, bottom_shapes: list[Shape]) -> None:
        shape = bottom_shapes[0]
        if len(shape) != 4 or min(shape[2:]) < self.field.kernel_size:
            raise ShapeError(
                f"layer '{self.name}': a bottom of shape {shape}, wanted (N, C, H, W), H and W at least kernel_size "
                f"{self.field.kernel_size}"
            )
        self.size = shape[1:]
        output = convolved_size(shape[2:], self.windows)
        check_output(self.name, shape[2:], output, self.windows)
        columns, places = shape[1] * self.field.kernel_size**2, math.prod(output)
        self.add_blob((self.field.num_output, 1, columns, places), self.field.weight_filler)
        if self.field.bias_term:
            self.add_blob((1, 1, self.field.num_output, places), self.field.bias_filler)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        if shape[1:] != self.size:
            raise ShapeError(f"layer '{self.name}': a bottom of shape {shape}, its weights are for (N, *{self.size})")
        return [(shape[0], self.field.num_output, *convolved_size(shape[2:], self.windows))]

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        return bottom_shapes[0][0] * math.prod(self.blob_shapes[0])

    def forward(self, *bottoms: Tensor) -> Tensor:
        windows = self.windows
        columns = functional.unfold(bottoms[0], windows.kernel, 1, windows.pad, windows.stride)
        top = (columns[:, None] * self.blob(0)[:, 0]).sum(2)
        top = top + self.blob(1)[0] if len(self.blobs) > 1 else top
        return top.view(self.top_shapes([tuple(bottoms[0].shape)])[0])
