"""SmoothL1Loss (smooth_L1_loss_layer.cpp of rbgirshick/caffe-fast-rcnn; of weiliu89/caffe with three bottoms)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Shape
from caffe_compat.layers.loss import DifferenceLoss
from caffe_compat.layers.registry import register


@register("SmoothL1Loss")
class SmoothL1Loss(DifferenceLoss):
    """sum(w_out f(w_in (a - b))) / N (smooth_L1_loss_layer of Fast R-CNN; with three bottoms SSD's, without w_out).

    f(d) = 0.5 (sigma d)^2 where |d| < 1 / sigma^2, else |d| - 0.5 / sigma^2. Bottoms: a, b, and if given w_in and
    w_out, which get no gradient.
    """

    bottoms = Count(2, 4)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.sigma: float = param.smooth_l1_loss_param.sigma
        if self.sigma <= 0:
            raise UnsupportedParameterError(
                f"layer '{self.name}': smooth_l1_loss_param.sigma is {self.sigma:g}; it must be positive"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        for weight in bottom_shapes[2:]:
            self.check_equal_counts([bottom_shapes[0], weight])
        return super().top_shapes(bottom_shapes)

    def forward(self, *bottoms: Tensor) -> Tensor:
        a, b, *weights = (bottom.reshape(bottoms[0].shape) for bottom in bottoms)
        difference = a - b
        if weights:
            difference = weights[0].detach() * difference
        losses = functional.smooth_l1_loss(
            difference, torch.zeros_like(difference), reduction="none", beta=1 / self.sigma**2
        )
        if len(weights) == 2:
            losses = weights[1].detach() * losses
        return losses.sum() / a.shape[0]
