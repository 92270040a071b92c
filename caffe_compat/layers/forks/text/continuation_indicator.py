"""ContinuationIndicator (continuation_indicator_layer.cpp of xmfbit/warpctc-caffe and sophgo/caffe)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape
from caffe_compat.layers.registry import register


@register("ContinuationIndicator")
class ContinuationIndicator(Layer):
    """The second bottom of recurrent layers whose sequences all start at step 0: (time_step, batch_size), 0 then ones.

    sophgo's `flag` makes the first row ones too, and so does, for its own item, a bottom whose value for the item is
    within 0.01 of 1. batch_size is 1 where it is not given.
    """

    gradient = "none"
    bottoms = Count(0, 1)
    works_in_place = False
    _first: Tensor

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.continuation_indicator_param
        self.shape: Shape = (field.time_step, field.batch_size)
        if min(self.shape) < 1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': continuation_indicator_param.time_step and batch_size are {self.shape[0]} and "
                f"{self.shape[1]}; both must be positive"
            )
        first = torch.full((self.shape[1],), float(field.flag))
        self.register_buffer("_first", first, persistent=False)  # follows .to() and .double()

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        for shape in bottom_shapes:
            if not shape or shape[0] != self.shape[1]:
                raise ShapeError(
                    f"layer '{self.name}': a bottom of shape {shape} has no value for each of batch_size "
                    f"{self.shape[1]} items"
                )
        return [self.shape]

    def forward(self, *bottoms: Tensor) -> Tensor:
        first = self._first
        if bottoms:
            goes_on = (bottoms[0].detach().flatten()[: self.shape[1]] - 1).abs() <= 0.01
            first = first.where(~goes_on, 1)
        return torch.cat((first[None], first.new_ones(self.shape[0] - 1, self.shape[1])))
