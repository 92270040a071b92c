"""Parameter (parameter_layer.hpp of Caffe 1.0)."""

from __future__ import annotations

from torch import Tensor

from caffe_compat.layers.base import Layer, Shape, exactly
from caffe_compat.layers.registry import register
from caffe_compat.proto.schema import FillerParameter


@register("Parameter")
class Parameter(Layer):
    """A learnable blob of parameter_param.shape as the top; it starts as zeros."""

    bottoms = exactly(0)

    def setup(self, bottom_shapes: list[Shape]) -> None:
        self.add_blob(tuple(self.param.parameter_param.shape.dim), FillerParameter())

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return [self.blob_shapes[0]]

    def forward(self, *bottoms: Tensor) -> Tensor:
        return self.blob(0)
