"""ArgMax (argmax_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer, Shape
from caffe_compat.layers.fields import given
from caffe_compat.layers.registry import register


@register("ArgMax")
class ArgMax(Layer):
    """The `top_k` largest values' indices, as floats; among equal values the larger index comes first. No gradient.

    With `axis` they stand along that axis (and with out_max_val the values instead). Without, they are of all values of
    an image, in a top of shape (N, 1, top_k, 1, ...), or (N, 2, top_k, 1, ...): indices, then values, with out_max_val.
    """

    gradient = "none"

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.argmax_param
        self.out_max_val: bool = field.out_max_val
        self.top_k: int = field.top_k
        self.axis: int | None = given(field, "axis")

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        if self.axis is None:
            size = math.prod(shape[1:])
            if not shape:
                raise ShapeError(f"layer '{self.name}': a bottom without axes has no images; give axis, or a batch")
            top = (shape[0], 2 if self.out_max_val else 1, self.top_k, *(1,) * (len(shape) - 3))
        else:
            axis = self.canonical_axis(self.axis, shape)
            size = shape[axis]
            top = (*shape[:axis], self.top_k, *shape[axis + 1 :])
        if not 1 <= self.top_k <= size:
            raise UnsupportedParameterError(
                f"layer '{self.name}': argmax_param.top_k is {self.top_k}; it must be 1 to {size} for a bottom of "
                f"shape {shape}"
            )
        return [top]

    @torch.no_grad()
    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        if self.axis is not None:
            values, indices = self._largest(x, self.axis)
            return values if self.out_max_val else indices
        values, indices = self._largest(x.flatten(1) if x.dim() > 1 else x.unsqueeze(1), 1)
        top = torch.stack((indices, values), 1) if self.out_max_val else indices
        return top.reshape(self.top_shapes([tuple(x.shape)])[0])

    def _largest(self, x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """The top_k largest values along `axis` and where they stand, as floats."""
        values, places = torch.sort(x.flip(axis), dim=axis, descending=True, stable=True)
        last = x.shape[axis] - 1
        return values.narrow(axis, 0, self.top_k), (last - places.narrow(axis, 0, self.top_k)).to(x.dtype)
