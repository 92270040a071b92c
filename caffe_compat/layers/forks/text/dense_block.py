"""DenseBlock: the dense block of DenseNet as one layer (DenseBlock_layer.cpp of senlinuc/caffe_ocr, its CPU path)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer, Shape
from caffe_compat.layers.function import need_batch
from caffe_compat.layers.registry import register
from caffe_compat.proto.schema import FillerParameter

_EPS = 1e-5
_ZERO, _ONE = FillerParameter(), FillerParameter(value=1)


@register("DenseBlock")
class DenseBlock(Layer):
    """numTransition times: batch normalisation, ReLU, a 3 x 3 convolution to growthRate channels, put behind the rest.

    With use_BC a 1 x 1 convolution to 4 * growthRate channels, batch normalisation and ReLU come before that
    convolution. Blobs, numTransition of each: filters, scales, biases, means, variances; with use_BC then the 1 x 1
    filters and the second normalisation's scales, biases, means, variances; last the factor that all means and
    variances are divided by in TEST. In TRAIN the batch's own statistics count, the variance the unbiased one, and the
    stored ones fade by moving_average_fraction. The layer's own dropout is not implemented.
    """

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.denseblock_param
        self.steps: int = field.numTransition
        self.growth: int = field.growthRate
        self.narrows: bool = field.use_BC
        self.fraction: float = field.moving_average_fraction
        if field.use_dropout and field.dropout_amount > 0:
            raise UnsupportedParameterError(f"layer '{self.name}': denseblock_param.use_dropout is not implemented")
        if min(self.steps, self.growth) < 1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': denseblock_param.numTransition {self.steps} and growthRate {self.growth} must "
                "be positive"
            )

    def setup(self, bottom_shapes: list[Shape]) -> None:
        if len(bottom_shapes[0]) != 4:
            raise ShapeError(f"layer '{self.name}': a bottom of shape {bottom_shapes[0]} is not (N, C, H, W)")
        field = self.param.denseblock_param
        channels = [bottom_shapes[0][1] + step * self.growth for step in range(self.steps)]
        wide = 4 * self.growth
        normal = (field.BN_Scaler_Filler, field.BN_Bias_Filler, _ZERO, _ONE)
        for count in channels:
            self.add_blob((self.growth, wide if self.narrows else count, 3, 3), field.Filter_Filler)
        for filler in normal:
            for count in channels:
                self.add_blob((1, count, 1, 1), filler)
        if self.narrows:
            for count in channels:
                self.add_blob((wide, count, 1, 1), field.Filter_Filler)
            for filler in normal:
                for _ in channels:
                    self.add_blob((1, wide, 1, 1), filler)
        self.add_blob((1,), _ZERO)

    @property
    def fixed_blobs(self) -> tuple[int, ...]:
        statistics = [*range(3 * self.steps, 5 * self.steps), *range(8 * self.steps, 10 * self.steps)]
        last = (10 if self.narrows else 5) * self.steps
        return (*(index for index in statistics if index < last), last)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        items, channels, height, width = bottom_shapes[0]
        if channels != self.blob_shapes[self.steps][1]:
            raise ShapeError(
                f"layer '{self.name}': bottom {bottom_shapes[0]} has {channels} channels, the blobs "
                f"{self.blob_shapes[self.steps][1]}"
            )
        return [(items, channels + self.steps * self.growth, height, width)]

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        filters = [blob.numel() for blob in self.blobs[: self.steps]]
        if self.narrows:
            filters += [blob.numel() for blob in self.blobs[5 * self.steps : 6 * self.steps]]
        items, _, height, width = bottom_shapes[0]
        return int(sum(filters) * items * height * width)

    def forward(self, *bottoms: Tensor) -> Tensor:
        (top,) = bottoms
        for step in range(self.steps):
            x = torch.relu(self._normalized(top, self.steps + step))
            if self.narrows:
                x = functional.conv2d(x, self.blob(5 * self.steps + step))
                x = torch.relu(self._normalized(x, 6 * self.steps + step))
            top = torch.cat((top, functional.conv2d(x, self.blob(step), padding=1)), 1)
        if self.context.phase == "TRAIN":
            self.blobs[-1].detach().mul_(self.fraction).add_(1)
        return top

    def _normalized(self, x: Tensor, first: int) -> Tensor:
        """Batch normalisation with the blobs first, first + steps, ...: scale, bias, mean, variance."""
        scale, bias, mean, var = (self.blob(first + kind * self.steps) for kind in range(4))
        mean, var = mean.detach(), var.detach()
        if self.context.phase == "TEST":
            factor = self.blobs[-1].detach()
            unit = torch.where(factor == 0, factor, 1 / factor)
            return (x - mean * unit) * (var * unit + _EPS).rsqrt() * scale + bias
        need_batch(self)
        own_var, own_mean = torch.var_mean(x, (0, 2, 3), correction=1, keepdim=True)
        mean.mul_(self.fraction).add_(own_mean.detach())
        var.mul_(self.fraction).add_(own_var.detach())
        return (x - own_mean) * (own_var + _EPS).rsqrt() * scale + bias
