"""Convolution and Deconvolution over one to three spatial axes (base_conv_layer.cpp and its heirs in Caffe 1.0)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Count, Layer, Shape
from caffe_compat.layers.caffe.connections import connections_of, cut_off
from caffe_compat.layers.lanes import faster_form
from caffe_compat.layers.layout import channels_last
from caffe_compat.layers.registry import register
from caffe_compat.layers.windows import (
    Sizes,
    Windows,
    check_output,
    convolution_windows,
    convolved_size,
    deconvolved_size,
    overhang,
)

_CONVOLVE: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


_DECONVOLVE: dict[int, Callable[..., Tensor]] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


class _FilterBank(Layer):
    """What Convolution and Deconvolution share: a weight (rows, columns / group, *kernel) and a bias (num_output,).

    Axes before `axis` are batch axes, `axis` (1) holds the channels, those behind it are spatial. Several bottoms of
    one shape go through the same weights to as many tops.

    bias_is_moot: no gradient is wanted for the bias, for what follows takes it off again.
    """

    bottoms = Count(1)
    tops = Count(1)
    bias_is_moot = False

    def setup(self, bottom_shapes: list[Shape]) -> None:
        param = self.param.convolution_param
        shape = bottom_shapes[0]
        self.axis = self.canonical_axis(param.axis, shape)
        spatial = len(shape) - self.axis - 1
        if not 1 <= spatial <= 3:
            raise UnsupportedParameterError(
                f"layer '{self.name}': bottom {shape} has {spatial} axes behind axis {self.axis}; 1 to 3 work"
            )
        self.windows: Windows = convolution_windows(self.name, param, spatial)
        self.channels, self.outputs, self.group = shape[self.axis], param.num_output, param.group
        self._check_channels()
        rows, columns = self.matrix_size()
        weight = (rows, columns // self.group, *self.windows.kernel)
        # the layout of the bottoms, which torch else gives the weight anew in every pass; training keeps Caffe's
        last = self.context.phase == "TEST" and len(weight) == 4 and weight[1] > 1
        self.add_blob(weight, param.weight_filler, torch.channels_last if last else torch.contiguous_format)
        if param.bias_term:
            self.add_blob((self.outputs,), param.bias_filler)

    def _check_channels(self) -> None:
        if self.outputs < 1 or self.group < 1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': num_output is {self.outputs} and group {self.group}; both must be 1 or more"
            )
        for field, number in (("the bottom's channels", self.channels), ("num_output", self.outputs)):
            if number % self.group:
                raise ShapeError(
                    f"layer '{self.name}': {field}, {number}, cannot be divided into group {self.group} equal parts"
                )

    def matrix_size(self) -> tuple[int, int]:
        """First and second axis of the weight for group 1."""
        raise NotImplementedError

    def output_size(self, size: Sizes) -> Sizes:
        """Spatial size of a top for the spatial size of a bottom."""
        raise NotImplementedError

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        first = bottom_shapes[0]
        if len(self.param.top) not in (0, len(bottom_shapes)):
            raise ShapeError(
                f"layer '{self.name}': {len(bottom_shapes)} bottoms need as many tops, there are {len(self.param.top)}"
            )
        for index, shape in enumerate(bottom_shapes):
            if shape != first:
                raise ShapeError(f"layer '{self.name}': bottom {index} is {shape}, bottom 0 {first}; make them equal")
        if first[self.axis] != self.channels:
            raise ShapeError(
                f"layer '{self.name}': bottom {first} has {first[self.axis]} channels, the weights {self.channels}"
            )
        size = first[self.axis + 1 :]
        output = self.output_size(size)
        check_output(self.name, size, output, self.windows)
        return [(*first[: self.axis], self.outputs, *output)] * len(bottom_shapes)

    def forward(self, *bottoms: Tensor) -> Tensor | tuple[Tensor, ...]:
        tops = tuple(self._filter(bottom) for bottom in bottoms)
        return tops[0] if len(tops) == 1 else tops

    def _filter(self, bottom: Tensor) -> Tensor:
        if self.axis == 1:
            return self.filter(channels_last(bottom), self.blob(0))
        batch = bottom.shape[: self.axis]
        top = self.filter(bottom.reshape(-1, *bottom.shape[self.axis :]), self.blob(0))
        return top.reshape(*batch, *top.shape[1:])

    def filter(self, bottom: Tensor, weight: Tensor) -> Tensor:
        """(batch, channels, *size) to (batch, num_output, *output size)."""
        raise NotImplementedError

    @property
    def bias(self) -> Tensor | None:
        if len(self.blobs) < 2:
            return None
        return self.blob(1).detach() if self.bias_is_moot else self.blob(1)


@register("Convolution")
class Convolution(_FilterBank):
    """Correlates each bottom with num_output kernels; weight (num_output, channels / group, *kernel)."""

    fork_fields = frozenset({"convolution_param.dilation_h", "convolution_param.dilation_w"})
    connections: Tensor | None

    def setup(self, bottom_shapes: list[Shape]) -> None:
        super().setup(bottom_shapes)
        found = connections_of(self.param, self.outputs, self.channels // self.group, self.context)
        self.register_buffer("connections", found, persistent=False)
        if found is not None:
            cut_off(self.blobs[0], found, self.param.convolution_param.weight_filler.type)

    def matrix_size(self) -> tuple[int, int]:
        return self.outputs, self.channels

    def output_size(self, size: Sizes) -> Sizes:
        return convolved_size(size, self.windows)

    def filter(self, bottom: Tensor, weight: Tensor) -> Tensor:
        windows = self.windows
        bottom = reached(bottom, windows)
        if self.connections is not None:
            weight = weight * self.connections[(..., *[None] * (weight.dim() - 2))]
        form = faster_form(bottom, weight, windows, self.group)
        if form is not None:
            return form(bottom, weight, self.bias, windows, self.group)
        return _CONVOLVE[len(windows.kernel)](
            bottom, weight, self.bias, windows.stride, windows.pad, windows.dilation, self.group
        )

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        return math.prod(self.blob_shapes[0][1:]) * sum(math.prod(shape) for shape in top_shapes)


@register("Deconvolution")
class Deconvolution(_FilterBank):
    """The transpose of Convolution; weight (channels, num_output / group, *kernel)."""

    def matrix_size(self) -> tuple[int, int]:
        return self.channels, self.outputs

    def output_size(self, size: Sizes) -> Sizes:
        return deconvolved_size(size, self.windows)

    def filter(self, bottom: Tensor, weight: Tensor) -> Tensor:
        windows = self.windows
        return _DECONVOLVE[len(windows.kernel)](
            bottom, weight, self.bias, windows.stride, windows.pad, 0, self.group, windows.dilation
        )

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        return math.prod(self.blob_shapes[0][1:]) * sum(math.prod(shape) for shape in bottom_shapes)


def reached(bottom: Tensor, windows: Windows) -> Tensor:
    """`bottom` with zeros after its end, where C++ truncation lets the only window reach beyond the pad."""
    size = tuple(bottom.shape[-len(windows.kernel) :])
    beyond = overhang(size, convolved_size(size, windows), windows)
    if not any(over > pad for over, pad in zip(beyond, windows.pad, strict=True)):
        return bottom
    reach = [max(0, over - pad) for over, pad in zip(beyond, windows.pad, strict=True)]
    return F.pad(bottom, [side for over in reversed(reach) for side in (0, over)])
