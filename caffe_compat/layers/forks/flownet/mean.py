"""Mean of FlowNet 2.0 (mean_layer.cpp of lmb-freiburg/flownet2)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape
from caffe_compat.layers.fields import enum_name
from caffe_compat.layers.registry import register


@register("Mean")
class Mean(Layer):
    """output_scale * (input_scale * x -+ mean_scale * value), one `value` a channel over and over, for each bottom.

    operation SUBTRACT or ADD. A mean `file` is not read.
    """

    bottoms = Count(1)
    tops = Count(1)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.field = param.mean_param
        if self.field.HasField("file") or not self.field.value:
            raise UnsupportedParameterError(
                f"layer '{self.name}': mean_param needs value; a file of means is not implemented"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        for shape in bottom_shapes:
            if len(shape) < 2 or shape[1] % len(self.field.value):
                raise ShapeError(
                    f"layer '{self.name}': {len(self.field.value)} values do not go into the channels of {shape}"
                )
        return bottom_shapes

    def forward(self, *bottoms: Tensor) -> Any:
        sign = -1 if enum_name(self.field, "operation") == "SUBTRACT" else 1
        tops = []
        for bottom in bottoms:
            means = bottom.new_tensor(list(self.field.value)).repeat(bottom.shape[1] // len(self.field.value))
            means = means.view(1, -1, *[1] * (bottom.dim() - 2)) * (sign * self.field.mean_scale)
            tops.append(self.field.output_scale * (self.field.input_scale * bottom + means))
        return tops[0] if len(tops) == 1 else tuple(tops)
