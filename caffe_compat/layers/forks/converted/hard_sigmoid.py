"""HardSigmoid (hard_sigmoid_layer.cpp of synopsys-caffe, hardsigmoid_layer.cpp of inisis/caffe)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.base import Context, Elementwise
from caffe_compat.layers.kinks import hard_sigmoid
from caffe_compat.layers.registry import register

MESSAGES = ("hard_sigmoid_param", "hardsigmoid_param")  # synopsys-caffe's name, inisis/caffe's


@register("HardSigmoid")
class HardSigmoid(Elementwise):
    """max(0, min(1, alpha * x + beta)), alpha 0.2 and beta 0.5 by default; the gradient at both kinks is 0.

    Neither fork has a Backward. Where alpha and beta are fixed forks have one: 0.2 between -2.5 and 2.5, without them.
    """

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        given = [name for name in MESSAGES if param.HasField(name)]
        if len(given) > 1:
            raise UnsupportedParameterError(f"layer '{self.name}': {' and '.join(given)} are both given; keep one")
        field = getattr(param, given[0] if given else MESSAGES[0])
        self.alpha: float = field.alpha
        self.beta: float = field.beta

    def forward(self, *bottoms: Tensor) -> Tensor:
        return hard_sigmoid(bottoms[0], self.alpha, self.beta)
