"""MVN, mean and variance normalization (mvn_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Layer, Shape
from caffe_compat.layers.function import Function, is_differentiated, shadow
from caffe_compat.layers.kinks import root
from caffe_compat.layers.looped import is_transformed
from caffe_compat.layers.registry import register


@register("MVN")
class MVN(Layer):
    """(x - mean) / (std + eps) over the axes behind the channels, or behind the batch with across_channels.

    normalize_variance false leaves out the division. std is that of the whole set, not the unbiased one. The top
    always has 4 axes, those that the bottom lacks of size 1 behind the others.
    """

    gradient = "own"

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        if len(bottom_shapes[0]) > 4:
            raise ShapeError(f"layer '{self.name}': bottom {bottom_shapes[0]} has more than Caffe's 4 axes")
        return [self._four_axes(bottom_shapes[0])]

    def _four_axes(self, shape: Shape) -> Shape:
        return (*shape, *[1] * (4 - len(shape)))

    def forward(self, *bottoms: Tensor) -> Tensor:
        param = self.param.mvn_param
        planes = bottoms[0].reshape(self._four_axes(bottoms[0].shape))
        axes = tuple(range(1 if param.across_channels else 2, planes.dim()))
        if param.normalize_variance:
            top: Tensor = _Standardize.apply(planes, shadow(planes), axes, param.eps)  # type: ignore[no-untyped-call]
            return top
        return planes - planes.mean(axes, keepdim=True)


class _Standardize(Function):
    """y = (x - mean) / (std + eps), with Caffe's gradient.

    dx = (dy - mean(dy) - y mean(y dy)) / (std + eps): the derivative of the forward only for eps = 0, for Caffe
    leaves eps out of the derivative of std (mvn_layer.cpp, Backward_cpu).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, zeros: Tensor | None, axes: tuple[int, ...], eps: float) -> Tensor:
        centred, divisor = _parts(x, axes, eps)
        top = centred / divisor if is_transformed() else centred.div_(divisor)
        ctx.save_for_backward(top, divisor, zeros)
        ctx.axes, ctx.eps = axes, eps
        return top

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        top, divisor, zeros = ctx.saved_tensors
        if is_differentiated(ctx):
            centred, divisor = _parts(top.detach() * divisor + zeros, ctx.axes, ctx.eps)
            top = centred / divisor
        (diff,) = gradients
        along_top = (top * diff).mean(ctx.axes, keepdim=True)
        centred = diff - diff.mean(ctx.axes, keepdim=True)
        if is_transformed():
            return (centred - top * along_top) / divisor, None, None, None
        return centred.sub_(top * along_top).div_(divisor), None, None, None


def _parts(x: Tensor, axes: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    """x - mean, and std + eps."""
    centred = x - x.mean(axes, keepdim=True)
    return centred, root(centred.square().mean(axes, keepdim=True)) + eps
