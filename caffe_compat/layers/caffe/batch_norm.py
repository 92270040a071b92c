"""BatchNorm (batch_norm_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Layer, Shape
from caffe_compat.layers.caffe.batch_norm_chain import Chain
from caffe_compat.layers.caffe.scale_bias import Scale
from caffe_compat.layers.function import need_batch
from caffe_compat.layers.registry import register
from caffe_compat.proto.schema import FillerParameter

_ZERO = FillerParameter()


@register("BatchNorm")
class BatchNorm(Layer):
    """(x - mean) / sqrt(var + eps) for every channel of axis 1; the scale and shift are a layer of their own.

    Blobs: sums of the means (channels,), sums of the unbiased variances (channels,), and the factor (1,) that both
    are divided by; where it is 0 both count as 0. All three fade by moving_average_fraction at each forward that
    uses its own batch's statistics, which is the rule in TRAIN unless use_global_stats says otherwise.

    scales: the Scale behind it, or none; `forward` computes that one's top too, as net/joining.py has it. chain: more
    layers behind it, with which it is computed then.
    """

    scales: tuple[Scale, ...] = ()
    chain: Chain | None = None

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
        return self.alone(*bottoms) if self.chain is None else self.chain.begun(*bottoms)

    def alone(self, bottom: Tensor) -> Tensor:
        """The top, scaled where there is a Scale."""
        stored_mean, stored_var, factor = (self.blob(index).detach() for index in range(3))
        scale, shift = self.terms
        if self.use_global_stats:
            unit = torch.where(factor == 0, factor, 1 / factor)
            mean, var = stored_mean * unit, stored_var * unit
            return torch.batch_norm(bottom, scale, shift, mean, var, False, 0.0, self.eps, False)
        need_batch(self)
        mean, var = torch.zeros_like(stored_mean), torch.zeros_like(stored_var)
        # with momentum 1 the running statistics become those of this batch, the variance unbiased as Caffe stores it
        top = torch.batch_norm(bottom, scale, shift, mean, var, True, 1.0, self.eps, False)
        if bottom.numel() == self.channels:  # one value a channel: Caffe's m / (m - 1) is 1 there, torch's infinite
            var = torch.zeros_like(var)  # not zero_(): the backward pass reads the other one
        torch._foreach_mul_([stored_mean, stored_var, factor], self.fraction)
        torch._foreach_add_([stored_mean, stored_var], [mean, var])
        factor.add_(1)
        return top
