"""InnerProduct (inner_product_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Layer, Shape
from caffe_compat.layers.layout import flattened
from caffe_compat.layers.parts import Taker, inner_product
from caffe_compat.layers.registry import register


@register("InnerProduct")
class InnerProduct(Layer):
    """All axes from `axis` (1) as one vector times the weight, plus the bias.

    Weight (num_output, inputs), or (inputs, num_output) with `transpose`; bias (num_output,).
    """

    taker: Taker | None = None  # of the weight's gradient; for a weight that is not transposed

    def setup(self, bottom_shapes: list[Shape]) -> None:
        param = self.param.inner_product_param
        self.axis = self.canonical_axis(param.axis, bottom_shapes[0])
        self.inputs, self.outputs = math.prod(bottom_shapes[0][self.axis :]), param.num_output
        self.transpose: bool = param.transpose
        if self.outputs < 1:
            raise UnsupportedParameterError(f"layer '{self.name}': num_output is {self.outputs}; give 1 or more")
        shape = (self.inputs, self.outputs) if self.transpose else (self.outputs, self.inputs)
        self.add_blob(shape, param.weight_filler)
        if param.bias_term:
            self.add_blob((self.outputs,), param.bias_filler)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        inputs = math.prod(shape[self.axis :])
        if inputs != self.inputs:
            raise ShapeError(
                f"layer '{self.name}': bottom {shape} has {inputs} values from axis {self.axis} on, "
                f"the weight takes {self.inputs}; feed the size that the net was built with"
            )
        return [(*shape[: self.axis], self.outputs)]

    def forward(self, *bottoms: Tensor) -> Tensor:
        if self.taker is not None and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            bias = self.blob(1) if len(self.blobs) > 1 else None
            return inner_product(flattened(bottoms[0], self.axis), self.blob(0), bias, self.taker)
        weight = self.blob(0).t() if self.transpose else self.blob(0)
        return F.linear(flattened(bottoms[0], self.axis), weight, self.blob(1) if len(self.blobs) > 1 else None)

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        return self.inputs * math.prod(top_shapes[0])
