"""Scale and Bias (scale_layer.cpp, bias_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Count, Layer, Shape
from caffe_compat.layers.registry import register
from caffe_compat.proto.schema import FillerParameter

_ONE = FillerParameter(value=1)


class _Broadcast(Layer):
    """What Scale and Bias share: a second operand that covers num_axes axes of the bottom from `axis` on.

    It is the second bottom if there is one, else blob 0. num_axes -1 covers all axes to the end, 0 makes a scalar.
    """

    bottoms = Count(1, 2)

    def read(self, param: Any, bottom_shapes: list[Shape]) -> Shape:
        """The operand's shape."""
        shape = bottom_shapes[0]
        if len(bottom_shapes) > 1:
            operand = bottom_shapes[1]
            self.axis = self.canonical_axis(param.axis, shape) if operand else 0
            return operand
        if param.num_axes < -1:
            raise UnsupportedParameterError(f"layer '{self.name}': num_axes is {param.num_axes}; give -1 or more")
        self.axis = self.canonical_axis(param.axis, shape)
        if self.axis + param.num_axes > len(shape):
            raise ShapeError(
                f"layer '{self.name}': axis {self.axis} and num_axes {param.num_axes} reach past bottom {shape}"
            )
        return shape[self.axis :] if param.num_axes == -1 else shape[self.axis : self.axis + param.num_axes]

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        operand = bottom_shapes[1] if len(bottom_shapes) > 1 else self.blob_shapes[0]
        if shape[self.axis : self.axis + len(operand)] != operand:
            raise ShapeError(
                f"layer '{self.name}': operand {operand} does not match bottom {shape} from axis {self.axis} on"
            )
        return [shape]

    def operands(self, bottoms: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """The bottom, and the second operand with axes of size 1 behind it, so that the two line up."""
        bottom = bottoms[0]
        operand = bottoms[1] if len(bottoms) > 1 else self.blob(0)
        return bottom, operand.reshape(*operand.shape, *[1] * (bottom.dim() - self.axis - operand.dim()))


@register("Scale")
class Scale(_Broadcast):
    """bottom * operand, plus a bias blob of the operand's shape with `bias_term`.

    is_done: the bottom is what would be the top, for the layer before has computed it.
    """

    is_done = False

    @property
    def is_for_channels(self) -> bool:
        """Whether it scales each channel by a blob of its own."""
        return len(self.param.bottom) == 1 and self.axis == 1 and len(self.blob_shapes[0]) == 1

    def overwrites_gradient(self, shape: Shape) -> bool:
        """Whether Caffe writes the gradient of the factors for a bottom of this shape, where it should add it.

        Its sums go straight into their diff where nothing is summed, or nothing over axes in front (a batch of 1):
        what earlier passes and layers above that share the factors gave is lost (scale_layer.cpp, Backward_cpu).
        """
        if len(self.param.bottom) > 1:
            return False
        factors = math.prod(self.blob_shapes[0])
        return factors == math.prod(shape) or (math.prod(shape[: self.axis]) == 1 and factors > 1)

    @property
    def terms(self) -> tuple[Tensor, Tensor | None]:
        """The factors and what is added, for one that `is_for_channels`; (channels,) each."""
        return self.blob(0), self.blob(1) if self.bias_term else None

    def setup(self, bottom_shapes: list[Shape]) -> None:
        param = self.param.scale_param
        shape = self.read(param, bottom_shapes)
        if len(bottom_shapes) == 1:
            self.add_blob(shape, param.filler if param.HasField("filler") else _ONE)
        self.bias_term: bool = param.bias_term
        if self.bias_term:
            self.add_blob(shape, param.bias_filler)

    def forward(self, *bottoms: Tensor) -> Tensor:
        if self.is_done:
            return bottoms[0]
        bottom, scale = self.operands(bottoms)
        if not self.bias_term:
            return bottom * scale
        bias = self.blob(len(self.blobs) - 1)
        return torch.addcmul(bias.view(scale.shape), bottom, scale)


@register("Bias")
class Bias(_Broadcast):
    """bottom + operand."""

    def setup(self, bottom_shapes: list[Shape]) -> None:
        param = self.param.bias_param
        shape = self.read(param, bottom_shapes)
        if len(bottom_shapes) == 1:
            self.add_blob(shape, param.filler)

    def forward(self, *bottoms: Tensor) -> Tensor:
        bottom, bias = self.operands(bottoms)
        return bottom + bias
