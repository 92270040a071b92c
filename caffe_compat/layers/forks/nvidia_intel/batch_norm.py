"""BatchNorm that scales and shifts (batch_norm_layer.cpp of NVIDIA/caffe, mkldnn_batch_norm_layer.cpp of Intel)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from caffe_compat.layers.base import Shape
from caffe_compat.layers.caffe.batch_norm import BatchNorm
from caffe_compat.layers.function import need_batch
from caffe_compat.layers.registry import variant
from caffe_compat.proto.schema import FillerParameter

_LEAST_EPS = 1e-5
_FIELDS = ("scale_bias", "scale_filler", "bias_filler", "relu", "filler", "use_weight_bias")


_ONE, _ZERO = FillerParameter(type="constant", value=1), FillerParameter(type="constant")


@variant("BatchNorm", *(f"batch_norm_param.{name}" for name in _FIELDS))
def fused_batch_norm(param: Any) -> type[BatchNorm] | None:
    """The class for a message that only NVIDIA's or Intel's fork understands; None for Caffe's own."""
    field = param.batch_norm_param
    if field.scale_bias or field.HasField("scale_filler"):
        return ScaledBatchNorm
    if field.relu or field.HasField("filler") or (field.HasField("use_weight_bias") and field.use_weight_bias):
        return RectifiedBatchNorm
    return ScaledBatchNorm if field.HasField("bias_filler") else None


class RectifiedBatchNorm(BatchNorm):
    """Intel's: Caffe's three blobs, a scale and (bias_term) a shift a channel unless use_weight_bias is false; `relu`.

    The top is max(0, scale * (x - mean) / sqrt(var + eps) + shift) with relu, else the inner part.
    """

    fork_fields = frozenset(
        f"batch_norm_param.{name}" for name in ("use_weight_bias", "bias_term", "filler", "bias_filler", "relu")
    )

    def setup(self, bottom_shapes: list[Shape]) -> None:
        super().setup(bottom_shapes)
        field = self.param.batch_norm_param
        if field.use_weight_bias:
            self.add_blob((self.channels,), field.filler if field.HasField("filler") else _ONE)
            if field.bias_term:
                self.add_blob((self.channels,), field.bias_filler if field.HasField("bias_filler") else _ZERO)

    @property
    def terms(self) -> tuple[Tensor | None, Tensor | None]:
        blobs = [self.blob(index) for index in range(3, len(self.blobs))]
        return blobs[0] if blobs else None, blobs[1] if len(blobs) > 1 else None

    def forward(self, *bottoms: Tensor) -> Tensor:
        top = super().forward(*bottoms)
        return torch.relu(top) if self.param.batch_norm_param.relu else top


class ScaledBatchNorm(BatchNorm):
    """NVIDIA's with scale_bias, or with a filler of either: scale * (x - mean) / sqrt(var + eps) + shift.

    Five blobs: mean, variance, a 1 that nothing reads, scale, shift. TEST uses the stored statistics; TRAIN those of
    the batch, the variance the biased one. The stored ones are those of the batch after the first two passes, then move
    by 1 - moving_average_fraction; eps, at least 1e-5, is within the stored variance. The passes are counted from 0 at
    each start.
    """

    fork_fields = frozenset(f"batch_norm_param.{name}" for name in ("scale_bias", "scale_filler", "bias_filler"))
    remembers = ("passes",)

    def setup(self, bottom_shapes: list[Shape]) -> None:
        super().setup(bottom_shapes)
        field = self.param.batch_norm_param
        self.eps = max(self.eps, _LEAST_EPS)
        self.passes = 0
        self.blobs[2].data.fill_(1)
        self.add_blob((self.channels,), field.scale_filler if field.HasField("scale_filler") else _ONE)
        self.add_blob((self.channels,), field.bias_filler if field.HasField("bias_filler") else _ZERO)

    @property
    def fixed_blobs(self) -> tuple[int, ...]:
        return (0, 1, 2)

    def forward(self, *bottoms: Tensor) -> Tensor:
        (bottom,) = bottoms
        mean, var = self.blob(0).detach(), self.blob(1).detach()
        scale, shift = self.blob(3), self.blob(4)
        if self.context.phase == "TEST":
            return torch.batch_norm(bottom, scale, shift, mean, var, False, 0.0, self.eps, False)
        need_batch(self)
        with torch.no_grad():
            own_var, own_mean = torch.var_mean(bottom, (0, *range(2, bottom.dim())), correction=0)
            share = 1 - self.fraction if self.passes > 1 else 1.0
            mean.lerp_(own_mean, share)
            var.lerp_(own_var + self.eps, share)
        self.passes += 1
        return torch.batch_norm(bottom, scale, shift, None, None, True, 0.0, self.eps, False)
