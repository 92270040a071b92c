"""Activations: each element of the top from the same element of the bottom.

Source: the neuron layers of Caffe 1.0 (src/caffe/layers, one file a type). Every class takes one bottom of any shape
and gives one top of the same shape; in-place use is a matter of the graph, `forward` never writes on its bottom.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer, Shape
from caffe_compat.layers.registry import register
from caffe_compat.proto.schema import FillerParameter


class Elementwise(Layer):
    """A layer whose top has the shape of its bottom."""

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return [bottom_shapes[0]]


@register("ReLU")
class ReLU(Elementwise):
    """max(x, 0) + negative_slope * min(x, 0); the gradient at 0 is negative_slope.

    `inplace` True lets `forward` write on its bottom where no gradient is wanted; whoever sets it knows that nobody
    else reads that tensor. `overwrites` the same with gradients, which must not need the bottom either.
    """

    inplace = overwrites = False

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.negative_slope: float = param.relu_param.negative_slope

    def forward(self, *bottoms: Tensor) -> Tensor:
        if self.negative_slope == 0:
            return functional.relu(bottoms[0], self.overwrites or (self.inplace and not torch.is_grad_enabled()))
        return functional.leaky_relu(bottoms[0], self.negative_slope)


@register("ReLU6")
class ReLU6(Elementwise):
    """min(max(x, 0) + negative_slope * min(x, 0), 6) (relu6_layer.cpp of MobileNet-YOLO); the gradient at 6 is 0."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.negative_slope: float = param.relu6_param.negative_slope

    def forward(self, *bottoms: Tensor) -> Tensor:
        if self.negative_slope == 0:
            return functional.relu6(bottoms[0])
        top = functional.leaky_relu(bottoms[0], self.negative_slope)
        return torch.where(top < 6, top, 6.0)


@register("PReLU")
class PReLU(Elementwise):
    """x where x > 0, else slope * x; blob 0 holds one slope a channel (axis 1), or one in all, 0.25 by default."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.channel_shared: bool = param.prelu_param.channel_shared

    def setup(self, bottom_shapes: list[Shape]) -> None:
        shape = bottom_shapes[0]
        if len(shape) < 2:
            raise ShapeError(f"layer '{self.name}': a bottom of shape {shape} has no axis 1 for the channels of PReLU")
        field = self.param.prelu_param
        filler = field.filler if field.HasField("filler") else FillerParameter(type="constant", value=0.25)
        self.add_blob(() if self.channel_shared else (shape[1],), filler)

    def forward(self, *bottoms: Tensor) -> Tensor:
        return functional.prelu(bottoms[0], self.blob(0).view(-1))


@register("ELU")
class ELU(Elementwise):
    """x where x > 0, else alpha * (exp(x) - 1)."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.alpha: float = param.elu_param.alpha

    def forward(self, *bottoms: Tensor) -> Tensor:
        return functional.elu(bottoms[0], self.alpha)


@register("Sigmoid")
class Sigmoid(Elementwise):
    """1 / (1 + exp(-x))."""

    def forward(self, *bottoms: Tensor) -> Tensor:
        return torch.sigmoid(bottoms[0])


@register("TanH")
class TanH(Elementwise):
    """tanh(x)."""

    def forward(self, *bottoms: Tensor) -> Tensor:
        return torch.tanh(bottoms[0])


@register("AbsVal")
class AbsVal(Elementwise):
    """|x|; the gradient at 0 is 0."""

    works_in_place = False

    def forward(self, *bottoms: Tensor) -> Tensor:
        return bottoms[0].abs()


@register("BNLL")
class BNLL(Elementwise):
    """Binomial normal log likelihood: log(1 + exp(x))."""

    linear_from = 50.0  # from here on log(1 + exp(x)) = x in float64, and exp(x) is still far from overflow

    def forward(self, *bottoms: Tensor) -> Tensor:
        return functional.softplus(bottoms[0], threshold=self.linear_from)


@register("Power")
class Power(Elementwise):
    """(shift + scale * x) ** power.

    With power or scale 0 the top is a constant and the gradient 0. Where shift + scale * x is exactly 0 Caffe computes
    the gradient as 0 / 0; here it is the derivative.
    """

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.power_param
        self.power: float = field.power
        self.scale: float = field.scale
        self.shift: float = field.shift

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        if self.power * self.scale == 0:
            return torch.full_like(x, 1.0 if self.power == 0 else _real_power(self.shift, self.power))
        if self.scale != 1:
            x = x * self.scale
        if self.shift != 0:
            x = x + self.shift
        return x if self.power == 1 else x.pow(self.power)


def _real_power(base: float, power: float) -> float:
    """base ** power as C computes it: infinite for 0 to a negative power, NaN for a root of a negative number."""
    return float(torch.tensor(base, dtype=torch.float64).pow(power))


@register("Exp")
class Exp(Elementwise):
    """base ** (shift + scale * x); base -1 stands for e."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.exp_param
        logarithm = log_of_base(field.base, self.name, "exp_param.base")
        self.inner_scale = logarithm * field.scale
        self.outer_scale = math.exp(logarithm * field.shift)

    def forward(self, *bottoms: Tensor) -> Tensor:
        x = bottoms[0] if self.inner_scale == 1 else bottoms[0] * self.inner_scale
        return x.exp() if self.outer_scale == 1 else x.exp() * self.outer_scale


@register("Log")
class Log(Elementwise):
    """The logarithm of shift + scale * x to `base`; base -1 stands for e."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.log_param
        logarithm = log_of_base(field.base, self.name, "log_param.base")
        if logarithm == 0:
            raise UnsupportedParameterError(f"layer '{self.name}': log_param.base is 1; a logarithm needs another base")
        self.base_scale = 1 / logarithm
        self.scale: float = field.scale
        self.shift: float = field.shift

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        if self.scale != 1:
            x = x * self.scale
        if self.shift != 0:
            x = x + self.shift
        return x.log() if self.base_scale == 1 else x.log() * self.base_scale


def log_of_base(base: float, layer: str, field: str) -> float:
    """The natural logarithm of `base`, where -1 stands for e; UnsupportedParameterError for any other base <= 0."""
    if base == -1:
        return 1.0
    if base <= 0:
        raise UnsupportedParameterError(f"layer '{layer}': {field} is {base:g}; it must be positive, or -1 for e")
    return math.log(base)


@register("Threshold")
class Threshold(Elementwise):
    """1 where x > threshold, else 0; no gradient."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.threshold: float = param.threshold_param.threshold

    def forward(self, *bottoms: Tensor) -> Tensor:
        return (bottoms[0] > self.threshold).to(bottoms[0].dtype)


@register("Swish")
class Swish(Elementwise):
    """x * sigmoid(beta * x)."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.beta: float = param.swish_param.beta

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        return functional.silu(x) if self.beta == 1 else x * torch.sigmoid(self.beta * x)


@register("Clip")
class Clip(Elementwise):
    """min(max(x, min), max); the gradient passes where min <= x <= max, both ends included."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.clip_param
        for end in ("min", "max"):
            if not field.HasField(end):
                raise UnsupportedParameterError(f"layer '{self.name}': clip_param.{end} is missing; give both ends")
        self.min: float = field.min
        self.max: float = field.max

    def forward(self, *bottoms: Tensor) -> Tensor:
        return bottoms[0].clamp(self.min, self.max)


@register("Mish")
class Mish(Elementwise):
    """x * tanh(log(1 + exp(x))) (Misra 2019; in forks with YOLO version 4)."""

    def forward(self, *bottoms: Tensor) -> Tensor:
        return functional.mish(bottoms[0])


@register("HardSwish")
@register("HSwish")
class HardSwish(Elementwise):
    """x * min(max(x + 3, 0), 6) / 6 (Howard et al. 2019, MobileNet version 3, in its forks)."""

    def forward(self, *bottoms: Tensor) -> Tensor:
        return functional.hardswish(bottoms[0])
