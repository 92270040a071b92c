"""L2Norm (l2_norm_layer.cpp of kurff/caffe-experimental, l2norm_layer.cpp of nbadalls/caffe-server, Akrit2013/...)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Elementwise, Shape
from caffe_compat.layers.fields import given
from caffe_compat.layers.registry import register


@register("L2Norm")
class L2Norm(Elementwise):
    """x / max(|x|, 1e-6), |x| the length of a whole item (all axes but the first); of two axes, of each row.

    Several forks have it (kurff/caffe-experimental, isikdogan/caffe, yuminsuh/caffe_retrieval, MSRCCS/Caffe); only the
    first gives a number for a length of 0. With l2norm_param.eps: x / (|x| + eps) (nbadalls/caffe-server). With
    l2norm_param.l2_length (Akrit2013/caffe-dev-160608): over the channels at each place, to a length of
    sqrt(l2_length), zeros as they are; its gradient takes that length for a constant. Where a file of that fork leaves
    l2_length out, write l2_length: 1.
    """

    least = 1e-12  # of a sum of squares

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.l2norm_param
        self.eps: float | None = given(field, "eps")
        self.length: float | None = given(field, "l2_length")
        if self.eps is not None and self.length is not None:
            raise UnsupportedParameterError(
                f"layer '{self.name}': l2norm_param.eps and l2_length are of two forks; give one"
            )
        if self.length is not None and self.length <= 0:
            raise UnsupportedParameterError(
                f"layer '{self.name}': l2norm_param.l2_length is {self.length:g}; it must be positive"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        if len(bottom_shapes[0]) < 2:
            raise ShapeError(f"layer '{self.name}': a bottom of shape {bottom_shapes[0]} has no second axis")
        return [bottom_shapes[0]]

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        if self.length is not None:
            with torch.no_grad():
                lengths = (x.square().sum(1, keepdim=True) / self.length).sqrt()
                lengths[lengths == 0] = 1
            return x / lengths
        squares = x.square().sum(tuple(range(1, x.dim())), keepdim=True)
        if self.eps is None:
            return x * squares.clamp(min=self.least).rsqrt()
        return x / (squares.sqrt() + self.eps)
