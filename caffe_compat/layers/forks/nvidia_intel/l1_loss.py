"""L1Loss (l1_loss_layer.cpp of NVIDIA/caffe)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.layers.base import Context
from caffe_compat.layers.fields import refuse_other_fields
from caffe_compat.layers.kinks import absolute
from caffe_compat.layers.loss import DifferenceLoss
from caffe_compat.layers.registry import register


@register("L1Loss")
class L1Loss(DifferenceLoss):
    """sum(|a - b|) / N, N the size of axis 0 (l1_loss_layer.cpp of NVIDIA's fork); the gradient at 0 is 0."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        refuse_other_fields(self.name, "l1_loss_param", param.l1_loss_param, ())

    def forward(self, *bottoms: Tensor) -> Tensor:
        a, b = bottoms
        return absolute(a - b.reshape(a.shape)).sum() / a.shape[0]
