"""BN, the batch normalisation of forks that came before Caffe's own BatchNorm, with its scale and shift inside.

Source: bn_layer.cpp of yjxiong/caffe (temporal segments), hszhao/PSPNet and happynear/caffe-windows for four blobs; of
alexgkendall/caffe-segnet for two.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape
from caffe_compat.layers.fields import enum_name, refuse_other_fields
from caffe_compat.layers.function import need_batch
from caffe_compat.layers.registry import register
from caffe_compat.proto.schema import FillerParameter

_SEGNET_EPS = 1e-9
_TWO_BLOBS = ("scale_filler", "shift_filler", "bn_mode", "var_eps")
_KNOWN = (*_TWO_BLOBS, "slope_filler", "bias_filler", "momentum", "eps", "frozen", "engine")


@register("BN")
@register("SyncBN")
class BN(Layer):
    """slope * (x - mean) / sqrt(var + eps) + bias for every channel of axis 1.

    Four blobs of (1, channels, 1, 1): slope, bias, moving mean, moving variance (biased). TRAIN uses the statistics of
    the batch and moves the stored ones by 1 - momentum; TEST, and `frozen`, use the stored ones. The solver leaves the
    stored ones alone, and all four where they are `frozen`.

    Two blobs (SegNet's, told by scale_filler, shift_filler, bn_mode or more than one top): scale and shift.
    bn_mode LEARN uses the statistics of the batch in both phases and gives them as tops 1 and 2, eps 1e-9; INFERENCE
    only scales and shifts. SyncBN is BN over the batches of all devices; here there is one.
    """

    tops = Count(1, 3)
    ones_are_loose = True

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.bn_param
        refuse_other_fields(self.name, "bn_param", field, _KNOWN)
        self.two_blobs = len(param.top) > 1 or any(field.HasField(name) for name in _TWO_BLOBS)
        self.frozen: bool = field.frozen
        self.momentum: float = field.momentum
        self.eps: float = field.eps
        if self.two_blobs:
            self.eps = field.var_eps if field.HasField("var_eps") else _SEGNET_EPS
        self.infers = enum_name(field, "bn_mode") == "INFERENCE"
        if self.infers and len(param.top) > 1:
            raise UnsupportedParameterError(f"layer '{self.name}': bn_mode INFERENCE has no statistics for more tops")

    def setup(self, bottom_shapes: list[Shape]) -> None:
        shape = bottom_shapes[0]
        if len(shape) < 2:
            raise ShapeError(f"layer '{self.name}': a bottom of shape {shape} has no axis 1 for the channels of BN")
        field = self.param.bn_param
        names = ("scale_filler", "shift_filler") if self.two_blobs else ("slope_filler", "bias_filler")
        for name in names:
            self.add_blob((1, shape[1], 1, 1), getattr(field, name))
        if not self.two_blobs:
            self.add_blob((1, shape[1], 1, 1), FillerParameter())
            self.add_blob((1, shape[1], 1, 1), FillerParameter(value=float(self.frozen)))

    @property
    def fixed_blobs(self) -> tuple[int, ...]:
        if self.two_blobs:
            return ()
        return (0, 1, 2, 3) if self.frozen else (2, 3)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        if shape[1] != self.blob_shapes[0][1]:
            raise ShapeError(
                f"layer '{self.name}': bottom {shape} has {shape[1]} channels, the blobs {self.blob_shapes[0][1]}"
            )
        return [shape, *[(1, shape[1], 1, 1)] * (len(self.param.top) - 1)]

    def forward(self, *bottoms: Tensor) -> Any:
        (x,) = bottoms
        slope, bias = self.blob(0).flatten(), self.blob(1).flatten()
        if self.infers:
            wide = (1, -1, *[1] * (x.dim() - 2))
            return torch.addcmul(bias.view(wide), x, slope.view(wide))
        if self.two_blobs:
            top, mean, var = self._of_batch(x, slope, bias)
            statistics = (mean.view(self.blob_shapes[0]), var.view(self.blob_shapes[0]))
            return (top, *statistics)[: len(self.param.top)] if len(self.param.top) > 1 else top
        stored_mean, stored_var = self.blob(2).detach(), self.blob(3).detach()
        if self.frozen or self.context.phase == "TEST":
            statistics = (stored_mean.flatten(), stored_var.flatten())
            return torch.batch_norm(x, slope, bias, *statistics, False, 0.0, self.eps, False)
        need_batch(self)
        top, mean, var = self._of_batch(x, slope, bias)
        for stored, found in ((stored_mean, mean), (stored_var, var)):
            stored.mul_(self.momentum).add_(found.detach().view(stored.shape), alpha=1 - self.momentum)
        return top

    def _of_batch(self, x: Tensor, slope: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The top and the mean and biased variance of each channel; no gradient flows through the latter two."""
        with torch.no_grad():
            var, mean = torch.var_mean(x, (0, *range(2, x.dim())), correction=0)
        return torch.batch_norm(x, slope, bias, None, None, True, 0.0, self.eps, False), mean, var
