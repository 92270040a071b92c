"""BatchNorm, Scale, Bias and MVN (batch_norm_layer.cpp, scale_layer.cpp, bias_layer.cpp, mvn_layer.cpp)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Count, Layer, Shape
from caffe_compat.layers.registry import register
from caffe_compat.proto.schema import FillerParameter

_ZERO = FillerParameter()
_ONE = FillerParameter(value=1)


@register("BatchNorm")
class BatchNorm(Layer):
    """(x - mean) / sqrt(var + eps) for every channel of axis 1; the scale and shift are a layer of their own.

    Blobs: sums of the means (channels,), sums of the unbiased variances (channels,), and the factor (1,) that both
    are divided by; where it is 0 both count as 0. All three fade by moving_average_fraction at each forward that
    uses its own batch's statistics, which is the rule in TRAIN unless use_global_stats says otherwise.

    scales: the Scale behind it, or none; `forward` computes that one's top too, as net/joining.py has it.
    """

    scales: tuple[Scale, ...] = ()

    @property
    def terms(self) -> tuple[Tensor | None, Tensor | None]:
        """What the normalised values are scaled by and shifted by, one a channel."""
        return self.scales[0].terms if self.scales else (None, None)

    def setup(self, bottom_shapes: list[Shape]) -> None:
        param = self.param.batch_norm_param
        self.eps: float = param.eps
        self.fraction: float = param.moving_average_fraction
        testing = self.context.phase == "TEST"
        self.use_global_stats: bool = param.use_global_stats if param.HasField("use_global_stats") else testing
        if len(bottom_shapes[0]) < 2:
            raise ShapeError(f"layer '{self.name}': bottom {bottom_shapes[0]} has no axis 1 for the channels")
        self.channels = bottom_shapes[0][1]
        for shape in ((self.channels,), (self.channels,), (1,)):
            self.add_blob(shape, _ZERO)

    @property
    def fixed_blobs(self) -> tuple[int, ...]:
        """In Caffe 1.0 all three; in the paper's fork they learn like any other blob."""
        return (0, 1, 2) if self.context.compat == "bvlc" else ()

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        if shape[1:2] != (self.channels,):
            raise ShapeError(f"layer '{self.name}': bottom {shape}, wanted {self.channels} channels on axis 1")
        return [shape]

    def forward(self, *bottoms: Tensor) -> Tensor:
        (bottom,) = bottoms
        stored_mean, stored_var, factor = (self.blob(index).detach() for index in range(3))
        scale, shift = self.terms
        if self.use_global_stats:
            unit = torch.where(factor == 0, factor, 1 / factor)
            mean, var = stored_mean * unit, stored_var * unit
            return torch.batch_norm(bottom, scale, shift, mean, var, False, 0.0, self.eps, False)
        mean, var = torch.zeros_like(stored_mean), torch.zeros_like(stored_var)
        # with momentum 1 the running statistics become those of this batch, the variance unbiased as Caffe stores it
        top = torch.batch_norm(bottom, scale, shift, mean, var, True, 1.0, self.eps, False)
        if bottom.numel() == self.channels:  # one value a channel: Caffe's m / (m - 1) is 1 there, torch's infinite
            var = torch.zeros_like(var)  # not zero_(): the backward pass reads the other one
        torch._foreach_mul_([stored_mean, stored_var, factor], self.fraction)
        torch._foreach_add_([stored_mean, stored_var], [mean, var])
        factor.add_(1)
        return top


class _Broadcast(Layer):
    """What Scale and Bias share: a second operand that covers num_axes axes of the bottom from `axis` on.

    It is the second bottom if there is one, else blob 0. num_axes -1 covers all axes to the end, 0 makes a scalar.
    """

    bottoms = Count(1, 2)

    def read(self, param: Any, bottom_shapes: list[Shape]) -> Shape:
        """The operand's shape."""
        shape = bottom_shapes[0]
        if len(bottom_shapes) > 1:
            operand = bottom_shapes[1]
            self.axis = self.canonical_axis(param.axis, shape) if operand else 0
            return operand
        if param.num_axes < -1:
            raise UnsupportedParameterError(f"layer '{self.name}': num_axes is {param.num_axes}; give -1 or more")
        self.axis = self.canonical_axis(param.axis, shape)
        if self.axis + param.num_axes > len(shape):
            raise ShapeError(
                f"layer '{self.name}': axis {self.axis} and num_axes {param.num_axes} reach past bottom {shape}"
            )
        return shape[self.axis :] if param.num_axes == -1 else shape[self.axis : self.axis + param.num_axes]

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        operand = bottom_shapes[1] if len(bottom_shapes) > 1 else self.blob_shapes[0]
        if shape[self.axis : self.axis + len(operand)] != operand:
            raise ShapeError(
                f"layer '{self.name}': operand {operand} does not match bottom {shape} from axis {self.axis} on"
            )
        return [shape]

    def operands(self, bottoms: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """The bottom, and the second operand with axes of size 1 behind it, so that the two line up."""
        bottom = bottoms[0]
        operand = bottoms[1] if len(bottoms) > 1 else self.blob(0)
        return bottom, operand.reshape(*operand.shape, *[1] * (bottom.dim() - self.axis - operand.dim()))


@register("Scale")
class Scale(_Broadcast):
    """bottom * operand, plus a bias blob of the operand's shape with `bias_term`.

    is_done: the bottom is what would be the top, for the layer before has computed it.
    """

    is_done = False

    @property
    def is_for_channels(self) -> bool:
        """Whether it scales each channel by a blob of its own."""
        return len(self.param.bottom) == 1 and self.axis == 1 and len(self.blob_shapes[0]) == 1

    @property
    def terms(self) -> tuple[Tensor, Tensor | None]:
        """The factors and what is added, for one that `is_for_channels`; (channels,) each."""
        return self.blob(0), self.blob(1) if self.bias_term else None

    def setup(self, bottom_shapes: list[Shape]) -> None:
        param = self.param.scale_param
        shape = self.read(param, bottom_shapes)
        if len(bottom_shapes) == 1:
            self.add_blob(shape, param.filler if param.HasField("filler") else _ONE)
        self.bias_term: bool = param.bias_term
        if self.bias_term:
            self.add_blob(shape, param.bias_filler)

    def forward(self, *bottoms: Tensor) -> Tensor:
        if self.is_done:
            return bottoms[0]
        bottom, scale = self.operands(bottoms)
        if not self.bias_term:
            return bottom * scale
        bias = self.blob(len(self.blobs) - 1)
        return torch.addcmul(bias.view(scale.shape), bottom, scale)


@register("Bias")
class Bias(_Broadcast):
    """bottom + operand."""

    def setup(self, bottom_shapes: list[Shape]) -> None:
        param = self.param.bias_param
        shape = self.read(param, bottom_shapes)
        if len(bottom_shapes) == 1:
            self.add_blob(shape, param.filler)

    def forward(self, *bottoms: Tensor) -> Tensor:
        bottom, bias = self.operands(bottoms)
        return bottom + bias


@register("MVN")
class MVN(Layer):
    """(x - mean) / (std + eps) over the axes behind the channels, or behind the batch with across_channels.

    normalize_variance false leaves out the division. std is that of the whole set, not the unbiased one. The top
    always has 4 axes, those that the bottom lacks of size 1 behind the others.
    """

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
            top: Tensor = _Standardize.apply(planes, axes, param.eps)  # type: ignore[no-untyped-call]
            return top
        return planes - planes.mean(axes, keepdim=True)


class _Standardize(torch.autograd.Function):
    """y = (x - mean) / (std + eps), with Caffe's gradient.

    dx = (dy - mean(dy) - y mean(y dy)) / (std + eps): the derivative of the forward only for eps = 0, for Caffe
    leaves eps out of the derivative of std (mvn_layer.cpp, Backward_cpu).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
        centred = x - x.mean(axes, keepdim=True)
        divisor = centred.square().mean(axes, keepdim=True).sqrt_().add_(eps)
        top = centred.div_(divisor)
        ctx.save_for_backward(top, divisor)
        ctx.axes = axes
        return top

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        top, divisor = ctx.saved_tensors
        (diff,) = gradients
        along_top = (top * diff).mean(ctx.axes, keepdim=True)
        centred = diff - diff.mean(ctx.axes, keepdim=True)
        return centred.sub_(top * along_top).div_(divisor), None, None
