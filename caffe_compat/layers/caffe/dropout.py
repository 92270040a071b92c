"""Dropout (dropout_layer.cpp): scaled while training, the identity while testing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.base import Context, Elementwise
from caffe_compat.layers.draws import TORCH, source
from caffe_compat.layers.registry import register


@register("Dropout")
class Dropout(Elementwise):
    """TRAIN: each element is 0 with probability dropout_ratio, else x / (1 - dropout_ratio). TEST: x.

    SegNet's sample_weights_test makes TEST like TRAIN, for samples of what the net is unsure of.

    dropout_ratio is in [0, 1); 0 keeps everything, as in Caffe's release builds (its debug builds refuse 0).
    """

    fork_fields = frozenset({"dropout_param.sample_weights_test"})

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.draws: bool = context.phase == "TRAIN" or param.dropout_param.sample_weights_test
        self.dropout_ratio: float = param.dropout_param.dropout_ratio
        if not 0 <= self.dropout_ratio < 1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': dropout_param.dropout_ratio is {self.dropout_ratio:g}; it must be at least 0 "
                "and below 1"
            )

    def forward(self, *bottoms: Tensor) -> Tensor:
        if not self.draws or self.dropout_ratio == 0:
            return bottoms[0]
        if source() is TORCH:
            return functional.dropout(bottoms[0], self.dropout_ratio, training=True)
        kept = source().bernoulli(torch.empty(bottoms[0].shape), 1 - self.dropout_ratio)
        return bottoms[0] * (kept.to(bottoms[0]) * (1 / (1 - self.dropout_ratio)))
