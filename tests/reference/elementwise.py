"""Layers of one value each, as prototxt and as the formula of Caffe's source."""

from __future__ import annotations

import math
from collections.abc import Callable

FORMULAS: dict[str, tuple[str, Callable[[float], float]]] = {
    "relu": ('type: "ReLU"', lambda x: max(x, 0.0)),
    "leaky": ('type: "ReLU" relu_param { negative_slope: 0.3 }', lambda x: x if x > 0 else 0.3 * x),
    "rising": ('type: "ReLU" relu_param { negative_slope: -0.5 }', lambda x: x if x > 0 else -0.5 * x),
    "relu6": ('type: "ReLU6"', lambda x: min(max(x, 0.0), 6.0)),
    "leaky6": ('type: "ReLU6" relu6_param { negative_slope: 0.5 }', lambda x: min(x if x > 0 else 0.5 * x, 6.0)),
    "elu": ('type: "ELU" elu_param { alpha: 0.5 }', lambda x: x if x > 0 else 0.5 * (math.exp(x) - 1)),
    "sigmoid": ('type: "Sigmoid"', lambda x: 1 / (1 + math.exp(-x))),
    "tanh": ('type: "TanH"', math.tanh),
    "absval": ('type: "AbsVal"', abs),
    "bnll": ('type: "BNLL"', lambda x: math.log(1 + math.exp(x))),
    "power": ('type: "Power" power_param { power: 3 scale: -0.5 shift: 2 }', lambda x: (2 - 0.5 * x) ** 3),
    "exp": ('type: "Exp" exp_param { base: 3 scale: 0.5 shift: 1 }', lambda x: 3 ** (1 + 0.5 * x)),
    "log": ('type: "Log" log_param { base: 2 scale: 0.1 shift: 5 }', lambda x: math.log(5 + 0.1 * x) / math.log(2)),
    "swish": ('type: "Swish" swish_param { beta: 2 }', lambda x: x / (1 + math.exp(-2 * x))),
    "clip": ('type: "Clip" clip_param { min: -1 max: 2 }', lambda x: min(max(x, -1.0), 2.0)),
}
