"""Pooling: MAX, AVE, STOCHASTIC (pooling_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Count, Layer, Shape
from caffe_compat.layers.caffe.pooling_loops import LEAST, average_by_loop, max_by_loop
from caffe_compat.layers.looped import is_mapped, is_recorded, is_transformed
from caffe_compat.layers.registry import register
from caffe_compat.layers.windows import Sizes, Windows, check_output, overhang, pooled_size, pooling_windows
from caffe_compat.proto.schema import message_class

_PoolingParameter = message_class("PoolingParameter")


_SMALLEST = float(torch.finfo(torch.float32).tiny)  # FLT_MIN, what STOCHASTIC adds to the sum of a window


@dataclass(frozen=True)
class Plan:
    """How one plane size is pooled.

    ceil_mode: the value with which torch's own pooling places the same windows, None where neither does.
    after: rows and columns that the last window reaches beyond size + pad.
    """

    size: Sizes
    output: Sizes
    windows: Windows
    ceil_mode: bool | None

    @property
    def after(self) -> Sizes:
        return overhang(self.size, self.output, self.windows)


def make_plan(layer: str, size: Sizes, windows: Windows, ceil: bool) -> Plan:
    """The plan for planes of `size` (height, width); ShapeError where an output would have no window to look at."""
    output = pooled_size(size, windows, ceil)
    check_output(layer, size, output, windows)
    for axis, out, n, stride, pad in zip("hw", output, size, windows.stride, windows.pad, strict=True):
        if (out - 1) * stride >= n + pad:
            raise ShapeError(
                f"layer '{layer}': the last window on {axis} starts at {(out - 1) * stride}; the bottom ends at {n}: "
                "Caffe gives -FLT_MAX or NaN there; set round_mode: FLOOR or another stride"
            )
    return Plan(size, output, windows, _torch_mode(size, output, windows))


def _torch_mode(size: Sizes, output: Sizes, windows: Windows) -> bool | None:
    """The ceil_mode with which torch's pooling has Caffe's windows; it refuses pads beyond half the kernel."""
    if any(2 * p > k for p, k in zip(windows.pad, windows.kernel, strict=True)):
        return None
    for ceil in (False, True):
        terms = zip(size, windows.kernel, windows.stride, windows.pad, strict=True)
        rounded = [((n + 2 * p - k + (s - 1 if ceil else 0)) // s + 1, n, s, p) for n, k, s, p in terms]
        if output == tuple(out - 1 if ceil and (out - 1) * s >= n + p else out for out, n, s, p in rounded):
            return ceil
    return None


def max_pool(bottom: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    """The maximum of every window and its index h * width + w in the plane (int64); the first of equal ones.

    As in Caffe a NaN never wins, and a window without a value above -FLT_MAX gives -FLT_MAX (index -1).
    """
    top, index = _max_of_numbers(bottom, plan)
    # elsewhere the look at the values would wait for the device, or break a program being recorded: there NaN wins
    if top.device.type != "cpu" or torch.compiler.is_compiling():
        return top, index
    if _is_finite(top.detach()):
        return top, index
    numbers = torch.where(bottom > LEAST, bottom, bottom.new_full((), LEAST))
    top, index = _max_of_numbers(numbers, plan)
    return top, index.masked_fill(top == LEAST, -1)


def _is_finite(top: Tensor) -> bool:
    """Whether all values are known to be finite; a sum that overflows does not tell, and only takes the slow way."""
    return not is_mapped() and math.isfinite(top.sum().item())


def _max_of_numbers(bottom: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    windows = plan.windows
    if plan.ceil_mode is not None:
        pair: tuple[Tensor, Tensor] = F.max_pool2d(
            bottom, windows.kernel, windows.stride, windows.pad, 1, plan.ceil_mode, return_indices=True
        )
        return pair
    padded = _surrounded(bottom, plan, LEAST)
    top, index = F.max_pool2d(padded, windows.kernel, windows.stride, return_indices=True)
    row = index.div(padded.shape[3], rounding_mode="floor") - windows.pad[0]
    column = index.remainder(padded.shape[3]) - windows.pad[1]
    return top, row * plan.size[1] + column


def max_without_index(bottom: Tensor, plan: Plan) -> Tensor | None:
    """The maxima alone, rows first, then columns, for windows that lie one pixel apart; None where that gains nothing.

    A window of k x k takes 2 k steps instead of k^2; values are those of `max_pool`, but for the sign of a zero.
    """
    windows = plan.windows
    if bottom.device.type != "cpu" or windows.stride != (1, 1) or min(windows.kernel) < 2 or plan.ceil_mode is None:
        return None
    if torch.compiler.is_compiling() or (torch.is_grad_enabled() and bottom.requires_grad):
        return None
    if any(2 * p != k - 1 for p, k in zip(windows.pad, windows.kernel, strict=True)) or plan.output != plan.size:
        return None
    if bottom.shape[1] < _FEWEST_CHANNELS or not bottom.is_contiguous(memory_format=torch.channels_last):
        return None
    top = _max_along(_max_along(bottom, 2, windows.pad[0]), 3, windows.pad[1])
    return top if _is_finite(top) else None  # as `max_pool` asks


_FEWEST_CHANNELS = 16  # that make a vector of AVX-512


def _max_along(bottom: Tensor, axis: int, reach: int) -> Tensor:
    """The maximum of each value and those up to `reach` before and behind it."""
    top, size = bottom.clone(), bottom.shape[axis]
    for step in range(1, min(reach, size - 1) + 1):
        for first, second in ((0, step), (step, 0)):
            part = top.narrow(axis, first, size - step)
            torch.maximum(part, bottom.narrow(axis, second, size - step), out=part)
    return top


_LARGE = 1 << 22  # values of a bottom; of fewer torch's own keeping costs little


def _keeps_places(bottom: Tensor, plan: Plan) -> bool:
    """Whether a backward pass may follow for which the places of the maxima alone are worth keeping."""
    if bottom.device.type != "cpu" or torch.compiler.is_compiling() or is_transformed() or plan.ceil_mode is None:
        return False
    return torch.is_grad_enabled() and bottom.requires_grad and bottom.numel() >= _LARGE


class _MaxOfPlaces(torch.autograd.Function):
    """The maximum of every window; kept are the places of the maxima as small numbers, and not the bottom."""

    @staticmethod
    def forward(ctx: Any, bottom: Tensor, plan: Plan) -> Tensor:
        top, index = max_pool(bottom, plan)
        plane = math.prod(plan.size)
        ctx.save_for_backward(index.to(torch.int16 if plane <= 2**15 else torch.int32))
        ctx.shape, ctx.plan, ctx.kind = bottom.shape, plan, bottom.dtype
        ctx.layout = torch.channels_last if bottom.is_contiguous(memory_format=torch.channels_last) else None
        return top

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        windows, layout = ctx.plan.windows, ctx.layout or torch.contiguous_format
        like = torch.empty(ctx.shape, dtype=ctx.kind, memory_format=layout)  # whose values nobody reads
        below: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
            gradients[0], like, windows.kernel, windows.stride, windows.pad, (1, 1), ctx.plan.ceil_mode, places.long()
        )
        return below, None


def average_pool(bottom: Tensor, plan: Plan, include_pad: bool = True) -> Tensor:
    """The sum of every window divided by its area, the right and lower pad included, what lies beyond that not.

    Without include_pad only the part of its area that lies in the image counts.
    """
    windows = plan.windows
    if plan.ceil_mode is not None:
        return F.avg_pool2d(bottom, windows.kernel, windows.stride, windows.pad, plan.ceil_mode, include_pad)
    padded = _surrounded(bottom, plan, 0)
    if is_recorded():  # torch's exporters to ONNX leave a given divisor out
        sums = F.avg_pool2d(padded, windows.kernel, windows.stride) * math.prod(windows.kernel)
    else:
        sums = F.avg_pool2d(padded, windows.kernel, windows.stride, divisor_override=1)
    rows, columns = (_lengths(plan, axis, include_pad) for axis in (0, 1))
    return sums / torch.outer(rows, columns).to(bottom)


def _lengths(plan: Plan, axis: int, include_pad: bool) -> Tensor:
    """Length of each window along `axis`, cut off at size + pad, or where the image ends."""
    n, out = plan.size[axis], plan.output[axis]
    windows = plan.windows
    start = torch.arange(out) * windows.stride[axis] - windows.pad[axis]
    end = start + windows.kernel[axis]
    return end.clamp(max=n + windows.pad[axis]) - start if include_pad else end.clamp(max=n) - start.clamp(min=0)


def _surrounded(bottom: Tensor, plan: Plan, value: float) -> Tensor:
    """`bottom` with `value` around it as far as the windows reach, so that no pad is left to do."""
    (top, left), (below, right) = plan.windows.pad, plan.after
    return F.pad(bottom, (left, right, top, below), value=value)


def stochastic_pool(bottom: Tensor, plan: Plan, training: bool) -> Tensor:
    """STOCHASTIC pooling of a bottom that is 0 or more (Zeiler and Fergus 2013; pooling_layer.cu).

    In TRAIN one value of each window, drawn with a probability in proportion to it; in TEST the expected value of
    that draw, sum(x^2) / sum(x), 0 for a window of zeros.
    """
    padded = _surrounded(bottom, plan, 0)
    windows = plan.windows
    taps = padded.unfold(2, windows.kernel[0], windows.stride[0]).unfold(3, windows.kernel[1], windows.stride[1])
    values = taps.flatten(-2)
    if not training:
        return values.square().sum(-1) / (values.sum(-1) + _SMALLEST)
    reached = values.detach().cumsum(-1)
    threshold = torch.rand_like(reached[..., :1]) * reached[..., -1:]
    # the first value at which the sum reaches the threshold
    return values.gather(-1, (reached >= threshold).byte().argmax(-1, keepdim=True)).squeeze(-1)


@register("Pooling")
class Pooling(Layer):
    """(batch, channels, height, width) to the same with every plane pooled; a second top of MAX holds the indices.

    ceil_mode of DSOD's and R-FCN's forks says with a truth value what Caffe 1.0 says with round_mode. Where Intel's
    avg_include_pad is false, AVE divides by what a window has of the image.

    `rectified` is whether a ReLU "before" or "behind" is computed too; AVE has none behind.
    """

    tops = Count(1, 2)
    rectified = "no"
    fork_fields = frozenset({"pooling_param.ceil_mode", "pooling_param.avg_include_pad"})

    def setup(self, bottom_shapes: list[Shape]) -> None:
        param = self.param.pooling_param
        self.pool: str = _PoolingParameter.PoolMethod.Name(param.pool)
        has_ceil_mode = param.HasField("ceil_mode")
        self.ceil: bool = param.ceil_mode if has_ceil_mode else param.round_mode == _PoolingParameter.CEIL
        self.include_pad: bool = param.avg_include_pad
        self.mask = len(self.param.top) > 1
        if self.mask and self.pool != "MAX":
            raise UnsupportedParameterError(
                f"layer '{self.name}': pool {self.pool} has one top; a second, the mask, is for MAX"
            )
        windows = pooling_windows(self.name, param, self._plane(bottom_shapes[0]))
        if self.pool == "STOCHASTIC" and any(windows.pad):
            raise UnsupportedParameterError(f"layer '{self.name}': pad is for MAX and AVE; STOCHASTIC takes none")
        self.windows: Windows | None = None if param.global_pooling else windows
        self._plans: dict[Sizes, Plan] = {}

    def _plane(self, shape: Shape) -> Sizes:
        if len(shape) != 4:
            raise ShapeError(f"layer '{self.name}': bottom {shape} must have 4 axes (batch, channels, height, width)")
        return shape[2], shape[3]

    def plan(self, shape: Shape) -> Plan:
        """How a bottom of `shape` is pooled; global pooling has a window of each plane's own size."""
        size = self._plane(shape)
        if size not in self._plans:
            windows = self.windows or Windows(size, (1, 1), (0, 0), (1, 1))
            self._plans[size] = make_plan(self.name, size, windows, self.ceil)
        return self._plans[size]

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        return [(*shape[:2], *self.plan(shape).output)] * max(1, len(self.param.top))

    def forward(self, *bottoms: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        (bottom,) = bottoms
        plan = self.plan(bottom.shape)
        looped = self.by_loop(bottom, plan)
        if looped is not None:
            return looped
        if self.rectified == "before":
            bottom = F.relu(bottom)
        top = self._by_torch(bottom, plan)
        return F.relu(top) if self.rectified == "behind" and isinstance(top, Tensor) else top

    def by_loop(self, bottom: Tensor, plan: Plan, top: Tensor | None = None) -> Tensor | None:
        """The top, on `top` where that is given, which goes without gradients; None where no loop computes it."""
        if self.pool == "MAX" and not self.mask:
            return max_by_loop(bottom, plan, top, self.rectified)
        if self.pool == "AVE":
            return average_by_loop(bottom, plan, self.include_pad, top, self.rectified == "before")
        return None

    def _by_torch(self, bottom: Tensor, plan: Plan) -> Tensor | tuple[Tensor, Tensor]:
        if self.pool == "MAX":
            if not self.mask and _keeps_places(bottom, plan):
                places: Tensor = _MaxOfPlaces.apply(bottom, plan)  # type: ignore[no-untyped-call]
                return places
            alone = None if self.mask else max_without_index(bottom, plan)
            if alone is not None:
                return alone
            top, index = max_pool(bottom, plan)
            return (top, index.to(top.dtype)) if self.mask else top
        if self.pool == "AVE":
            return average_pool(bottom, plan, self.include_pad)
        return stochastic_pool(bottom, plan, self.context.phase == "TRAIN")
