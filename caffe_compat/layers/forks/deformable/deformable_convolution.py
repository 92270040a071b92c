"""DeformableConvolution (deformable_conv_layer.cu of unsky/Deformable-ConvNets-caffe and makefile/frcnn).

Dai et al. 2017; deformable_im2col.cu has the sampling. The gradients are the derivatives; the ports' own takes the
top's gradient of the first item for every item of a batch.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Context, Layer, Shape, exactly
from caffe_compat.layers.fields import refuse_other_fields
from caffe_compat.layers.registry import register
from caffe_compat.layers.sampling import interpolated, pixels
from caffe_compat.layers.windows import Windows, check_output, convolution_windows, convolved_size

_SIDES = ("pad", "kernel", "stride")


_KNOWN = (
    "num_output", "bias_term", "kernel_size", "pad", "stride", "dilation", "group", "deformable_group", "engine",
    "weight_filler", "bias_filler", "force_nd_im2col", *(f"{side}_{axis}" for side in _SIDES for axis in "hw"),
)  # fmt: skip


@register("DeformableConvolution")
class DeformableConvolution(Layer):
    """A 2-D convolution whose taps read the bottom at places moved by bottom 1, between pixels where they fall there.

    Bottom 1: (N, 2 * deformable_group * taps, H', W'), H' x W' the top's; the row's move and the column's for each tap
    in turn. Each of deformable_group equal parts of the channels has moves of its own. A place above or left of the
    plane, or at its height or width and beyond, counts 0; one below its last row or right of its last column has that
    one's value. Blobs: weight (num_output, C / group, *kernel), bias (num_output,).
    """

    bottoms = exactly(2)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.field = param.deformable_convolution_param
        refuse_other_fields(self.name, "deformable_convolution_param", self.field, _KNOWN)

    def setup(self, bottom_shapes: list[Shape]) -> None:
        field, shape = self.field, bottom_shapes[0]
        if len(shape) != 4:
            raise ShapeError(f"layer '{self.name}': a bottom of shape {shape}, wanted (N, C, H, W)")
        self.windows: Windows = convolution_windows(self.name, field, 2)
        for name, number in (("num_output", field.num_output), ("the bottom's channels", shape[1])):
            if field.group < 1 or number < 1 or number % field.group:
                raise ShapeError(f"layer '{self.name}': {name}, {number}, is no multiple of group {field.group}")
        if field.deformable_group < 1 or shape[1] % field.deformable_group:
            raise ShapeError(
                f"layer '{self.name}': {shape[1]} channels are no multiple of deformable_group {field.deformable_group}"
            )
        self.add_blob((field.num_output, shape[1] // field.group, *self.windows.kernel), field.weight_filler)
        if field.bias_term:
            self.add_blob((field.num_output,), field.bias_filler)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape, moves = bottom_shapes
        output = convolved_size(shape[2:], self.windows)
        check_output(self.name, shape[2:], output, self.windows)
        wanted = (shape[0], 2 * self.field.deformable_group * math.prod(self.windows.kernel), *output)
        if moves != wanted:
            raise ShapeError(f"layer '{self.name}': bottom '{self.param.bottom[1]}' is {moves}, wanted {wanted}")
        if shape[1] != self.blob_shapes[0][1] * self.field.group:
            raise ShapeError(f"layer '{self.name}': bottom {shape} has other channels than the weights")
        return [(shape[0], self.field.num_output, *output)]

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        return math.prod(self.blob_shapes[0][1:]) * math.prod(top_shapes[0])

    def forward(self, *bottoms: Tensor) -> Tensor:
        x, moves = bottoms
        number, output = x.shape[0], moves.shape[2:]
        weight = self.blob(0).flatten(1)
        weight = weight.view(self.field.group, -1, weight.shape[1])
        columns = self._taps(x, moves).view(number, self.field.group, weight.shape[2], math.prod(output))
        top = (weight @ columns).reshape(number, len(self.blob(0)), *output)
        return top + self.blob(1)[:, None, None] if len(self.blobs) > 1 else top

    def _taps(self, x: Tensor, moves: Tensor) -> Tensor:
        """What each tap reads at each place: N * C * taps * H' * W' values, in this order."""
        parts, taps, output = self.field.deformable_group, math.prod(self.windows.kernel), moves.shape[2:]
        moves = moves.reshape(-1, taps, 2, *output)
        at, low, high, inside = [], [], [], None
        for axis, size in enumerate(x.shape[2:]):
            start = self._starts(axis, output[axis], moves)
            place = (start + moves[:, :, axis]).flatten(1)[:, None]
            known = (place >= 0) & (place < size)
            inside = known if inside is None else inside & known
            at.append(torch.where(place < size - 1, place, size - 1.0))
            low.append(at[-1].detach().floor())
            high.append((low[-1] + 1).clamp(max=size - 1))
        planes = x.reshape(-1, x.shape[1] // parts, *x.shape[2:])
        found = interpolated((low[0], low[1]), (high[0], high[1]), (at[0], at[1]), partial(pixels, planes))
        assert inside is not None
        return torch.where(inside, found, 0)

    def _starts(self, axis: int, count: int, like: Tensor) -> Tensor:
        """Rows (axis 0) or columns (1) of the taps before they move: (taps, H', 1) or (taps, 1, W')."""
        windows = self.windows
        first = torch.arange(count, device=like.device) * windows.stride[axis] - windows.pad[axis]
        step = torch.arange(windows.kernel[axis], device=like.device) * windows.dilation[axis]
        other = windows.kernel[1 - axis]
        step = step.repeat_interleave(other) if axis == 0 else step.repeat(other)
        return (step[:, None] + first).to(like.dtype).unsqueeze(2 - axis)
