"""Im2col (im2col_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Layer, Shape
from caffe_compat.layers.caffe.convolution import reached
from caffe_compat.layers.registry import register
from caffe_compat.layers.windows import (
    Windows,
    check_output,
    convolution_windows,
    convolved_size,
)


@register("Im2col")
class Im2col(Layer):
    """A window as a column: (.., channels, *size) to (.., channels * taps, *output size); taps in row-major order."""

    def setup(self, bottom_shapes: list[Shape]) -> None:
        param = self.param.convolution_param
        self.axis = self.canonical_axis(param.axis, bottom_shapes[0])
        if self.axis == len(bottom_shapes[0]) - 1:
            raise ShapeError(
                f"layer '{self.name}': bottom {bottom_shapes[0]} has no axis behind axis {self.axis}, the channels, "
                "for windows to lie on"
            )
        self.windows: Windows = convolution_windows(self.name, param, len(bottom_shapes[0]) - self.axis - 1)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        size = shape[self.axis + 1 :]
        output = convolved_size(size, self.windows)
        check_output(self.name, size, output, self.windows)
        return [(*shape[: self.axis], shape[self.axis] * math.prod(self.windows.kernel), *output)]

    def forward(self, *bottoms: Tensor) -> Tensor:
        windows, spatial = self.windows, len(self.windows.kernel)
        padded = F.pad(reached(bottoms[0], windows), [p for pad in reversed(windows.pad) for p in (pad, pad)])
        for axis, (extent, stride) in enumerate(zip(windows.extent, windows.stride, strict=True)):
            padded = padded.unfold(self.axis + 1 + axis, extent, stride)
        steps: tuple[Any, ...] = (..., *(slice(None, None, step) for step in windows.dilation))
        taps = padded[steps]
        # axes now: batch, channel, one an output axis, one a kernel axis; the kernel's go behind the channel
        columns = taps.movedim(tuple(range(-spatial, 0)), tuple(range(self.axis + 1, self.axis + 1 + spatial)))
        return columns.flatten(self.axis, self.axis + spatial)
