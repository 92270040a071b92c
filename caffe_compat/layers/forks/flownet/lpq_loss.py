"""LpqLoss of FlowNet's fork (lpq_loss_layer.cu of lmb-freiburg/flownet2)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Shape
from caffe_compat.layers.loss import LossLayer
from caffe_compat.layers.registry import register


@register("LpqLoss")
class LpqLoss(LossLayer):
    """sum((q_epsilon + w sum_c (|d| + p_epsilon)^p)^q) / N, the inner sum over the channels; d = a - b, or a alone.

    w is 1, with l2_prescale_by_channels 1 / C. NaN in d counts 0, gradient 0. normalize_by_num_entries: N is the number
    of d that are not NaN by C, and not the size of axis 0. The slope of |d| at 0 is -1, as in the fork. p and q may not
    change with the iteration, which a layer does not know here.
    """

    bottoms = Count(1, 2)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.field = field = param.lpq_loss_param
        if len(field.p) != 1 or len(field.q) != 1 or len(field.pq_episode_starts_at_iter) > 1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': lpq_loss_param has {len(field.p)} p, {len(field.q)} q and "
                f"{len(field.pq_episode_starts_at_iter)} pq_episode_starts_at_iter; one p and one q are implemented, "
                "for all iterations: train each episode by itself"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        if len(bottom_shapes) > 1:
            self.check_equal_counts(bottom_shapes)
        return [()]

    def forward(self, *bottoms: Tensor) -> Tensor:
        field = self.field
        difference = bottoms[0] if len(bottoms) == 1 else bottoms[0] - bottoms[1].reshape(bottoms[0].shape)
        known = ~difference.isnan()
        difference = torch.where(known, difference, 0)
        size = torch.where(difference > 0, difference, -difference)
        channels = difference.shape[1] if difference.dim() > 1 else 1
        inner = (size + field.p_epsilon).pow(field.p[0])
        inner = inner.sum(1) if inner.dim() > 1 else inner
        inner = inner / channels if field.l2_prescale_by_channels else inner
        divisor = known.sum() / channels if field.normalize_by_num_entries else max(1, math.prod(size.shape[:1]))
        total: Tensor = (inner + field.q_epsilon).pow(field.q[0]).sum() / divisor
        return total
