"""MarginInnerProduct (wy1iu/sphereface) and LargeMarginInnerProduct (wy1iu/LargeMargin_Softmax_Loss).

Source: margin_inner_product_layer.cpp of wy1iu/sphereface, largemargin_inner_product_layer.cpp of
wy1iu/LargeMargin_Softmax_Loss.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer, Shape, exactly
from caffe_compat.layers.fields import enum_name
from caffe_compat.layers.function import Function, is_differentiated
from caffe_compat.layers.labels import check_label_count, class_labels
from caffe_compat.layers.registry import register

_SMALL = 1e-9  # L-Softmax adds it to |x| |w|


def margin(cosine: Tensor, times: int) -> Tensor:
    """(-1)^k cos(times * angle) - 2 k, k the part of [0, pi] in which the angle lies; falls from 1 to 1 - 2 * times."""
    sign = cosine.detach().sign()
    if times == 2:
        return 2 * sign * cosine.square() - 1
    if times == 3:
        half = (cosine.detach().abs() - 0.5).sign()
        return half * (4 * cosine**3 - 3 * cosine) + sign * (1 + half) - 2
    quarter = sign * (2 * cosine.detach().square() - 1).sign()
    return quarter * (8 * cosine**4 - 8 * cosine.square() + 1) + 2 * sign + quarter - 3


def _slope(cosine: Tensor, times: int) -> Tensor:
    """The derivative of `margin` by the cosine, between its kinks."""
    sign = cosine.sign()
    if times == 2:
        return 4 * sign * cosine
    if times == 3:
        return (cosine.abs() - 0.5).sign() * (12 * cosine**2 - 3)
    return sign * (2 * cosine.square() - 1).sign() * (32 * cosine**3 - 16 * cosine)


class MarginProduct(Layer):
    """x w, but |x| |w| times the margin of the angle for the class of the label, mixed with x w by lambda.

    The label's score is (lambda x w + |x| |w| psi) / (1 + lambda), psi for angles times 1 (SINGLE: plain x w), 2, 3 or
    4; lambda = max(lambda_min, base * (1 + gamma * iteration)^-power), the iteration counted up at each forward and not
    kept in snapshots. Tops: the scores (..., num_output), and lambda (1,). Blob 0 (num_output, inputs).
    """

    bottoms = exactly(2)
    tops = exactly(2)
    field: Any
    remembers = ("iteration",)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.times = ("SINGLE", "DOUBLE", "TRIPLE", "QUADRUPLE").index(enum_name(self.field, "type")) + 1
        self.iteration: float = self.field.iteration
        if self.field.num_output < 1:
            raise UnsupportedParameterError(f"layer '{self.name}': num_output is 0; it must be positive")

    def setup(self, bottom_shapes: list[Shape]) -> None:
        self.axis = self.canonical_axis(self.field.axis, bottom_shapes[0])
        self.add_blob((self.field.num_output, math.prod(bottom_shapes[0][self.axis :])), self.field.weight_filler)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        check_label_count(self, bottom_shapes[1], shape[: self.axis])
        if math.prod(shape[self.axis :]) != self.blob_shapes[0][1]:
            raise ShapeError(
                f"layer '{self.name}': bottom {shape} has {math.prod(shape[self.axis :])} inputs, the blob "
                f"{self.blob_shapes[0][1]}"
            )
        return [(*shape[: self.axis], self.field.num_output), (1,)]

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        return math.prod(bottom_shapes[0]) * int(self.field.num_output)

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, Tensor]:
        self.iteration += 1
        share = self.field.base * (1 + self.field.gamma * self.iteration) ** -self.field.power
        share = max(share, self.field.lambda_min)
        rows = bottoms[0].shape[: self.axis]
        x = bottoms[0].reshape(math.prod(rows), self.blob_shapes[0][1])
        index, _ = class_labels(self, bottoms[1], (len(x),), len(self.blob(0)), None)
        scores = self.scores(x, index, share)
        return scores.view(*rows, scores.shape[1]), x.new_full((1,), share)

    def scores(self, x: Tensor, index: Tensor, share: float) -> Tensor:
        """(M, num_output) for x (M, inputs), the class of each row and lambda."""
        raise NotImplementedError


@register("LargeMarginInnerProduct")
class LargeMarginInnerProduct(MarginProduct):
    __doc__ = MarginProduct.__doc__

    def __init__(self, param: Any, context: Context) -> None:
        self.field = param.largemargin_inner_product_param
        super().__init__(param, context)

    def scores(self, x: Tensor, index: Tensor, share: float) -> Tensor:
        weight = self.blob(0)
        product = x @ weight.T
        if self.times == 1:
            return product
        size = x.norm(dim=1) * weight[index].norm(dim=1) + _SMALL
        own = product.gather(1, index[:, None])[:, 0]
        mixed = (share * own + size * margin(own / size, self.times)) / (1 + share)
        return product.scatter(1, index[:, None], mixed[:, None])


class _Angular(Function):
    """A-Softmax: the label's score with its own gradient.

    Caffe takes the derivative of |x| psi by x as a w + b x and divides it by sqrt(a^2 + b^2); that by w is x, as if
    the score were x w.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, times: int, share: float) -> Tensor:
        size, cosine, psi, by_weight, by_x = _angle(x, weight, times)
        ctx.save_for_backward(x, weight, by_weight, by_x)
        ctx.share, ctx.times = share, times
        score: Tensor = (share * cosine + psi) * size / (1 + share)
        return score

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, weight, by_weight, by_x = ctx.saved_tensors
        if is_differentiated(ctx):
            by_weight, by_x = _angle(x, weight, ctx.times)[3:]
        part = gradients[0][:, None] / (1 + ctx.share)
        steered = by_weight[:, None] * weight + by_x[:, None] * x
        return part * (steered + ctx.share * weight), gradients[0][:, None] * x, None, None


def _angle(x: Tensor, weight: Tensor, times: int) -> tuple[Tensor, ...]:
    """|x|, the cosine, its margin, and how much of the weight and of x there is in the gradient of x."""
    size = x.norm(dim=1)
    cosine = (x * weight).sum(1) / size
    psi, slope = margin(cosine, times), _slope(cosine, times)
    along = (psi - slope * cosine) / size
    scale = (slope.square() + along.square()).sqrt()
    return size, cosine, psi, slope / scale, along / scale


@register("MarginInnerProduct")
class MarginInnerProduct(MarginProduct):
    """SphereFace's product: as LargeMarginInnerProduct, but each forward first scales every row of the blob to 1.

    The gradient of the label's score is Caffe's, not the derivative (see _Angular).
    """

    gradient = "own"

    def __init__(self, param: Any, context: Context) -> None:
        self.field = param.margin_inner_product_param
        super().__init__(param, context)

    def scores(self, x: Tensor, index: Tensor, share: float) -> Tensor:
        weight = self.blob(0)
        with torch.no_grad():
            weight.div_(weight.norm(dim=1, keepdim=True))
        product = x @ weight.T
        if self.times == 1:
            return product
        own: Tensor = _Angular.apply(x, weight[index], self.times, share)  # type: ignore[no-untyped-call]
        return product.scatter(1, index[:, None], own[:, None])
