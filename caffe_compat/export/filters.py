"""The filters of a layer while scales and shifts are folded into them, in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe_compat.layers.base import Layer
from caffe_compat.layers.caffe.convolution import Convolution, Deconvolution
from caffe_compat.layers.caffe.inner_product import InnerProduct
from caffe_compat.net.channelwise import Affine


@dataclass
class Filters:
    """weight: [group, outputs / group, inputs / group, values], of whatever layer. bias: (outputs,).

    shape, turned: of the blob, and whether inputs come before outputs in it. padded: whether the window reaches beyond
    the bottom, where a shift of the bottom is not felt; for a Deconvolution it never is felt alike.
    """

    weight: np.ndarray
    bias: np.ndarray
    shape: tuple[int, ...]
    turned: bool
    padded: bool

    def behind(self, affine: Affine) -> None:
        """Let the layer do what `affine` does to its top."""
        rows = affine.scale.reshape(*self.weight.shape[:2], 1, 1)
        self.weight = self.weight * rows
        self.bias = self.bias * affine.scale + affine.shift

    def before(self, affine: Affine) -> bool:
        """Let the layer do what `affine` does to its bottom; False where it cannot."""
        if self.padded and affine.shift.any():
            return False
        group, _, inputs, _ = self.weight.shape
        scale, shift = (
            np.repeat(each, group * inputs // len(each)).reshape(group, 1, inputs, 1)
            for each in (affine.scale, affine.shift)
        )
        self.bias = self.bias + (self.weight * shift).sum(axis=(2, 3)).reshape(-1)
        self.weight = self.weight * scale
        return True

    def blobs(self) -> tuple[np.ndarray, np.ndarray]:
        """Weight and bias as the layer has them, float32."""
        weight = self.weight
        if self.turned:
            weight = weight.swapaxes(1, 2)
        return np.ascontiguousarray(weight.reshape(self.shape), np.float32), self.bias.astype(np.float32)

    def give_bias(self, message: Any) -> None:
        """Let the layer's message say that it has a bias."""
        fields = message.inner_product_param if message.type == "InnerProduct" else message.convolution_param
        fields.ClearField("bias_term")


def filters_of(layer: Layer) -> Filters | None:
    """The filters of a layer that channels go through; None for any other, and for one that rectifies its top."""
    if not isinstance(layer, (Convolution, Deconvolution, InnerProduct)):
        return None
    fields = layer.param.inner_product_param if isinstance(layer, InnerProduct) else layer.param.convolution_param
    if fields.relu or layer.axis != 1:
        return None
    values = layer.blob(0).detach().numpy()
    shape = values.shape
    if isinstance(layer, InnerProduct):
        group, turned, padded = 1, bool(layer.transpose), False
        values = values.reshape(1, *shape, 1)
    else:
        group, turned = layer.group, isinstance(layer, Deconvolution)
        padded = turned or any(layer.windows.pad)
        values = values.reshape(group, shape[0] // group, shape[1], -1)
    weight = (values.swapaxes(1, 2) if turned else values).astype(np.float64)
    outputs = weight.shape[0] * weight.shape[1]
    bias = layer.blob(1).detach().numpy().astype(np.float64) if len(layer.blobs) > 1 else np.zeros(outputs)
    return Filters(weight, bias.reshape(-1), shape, turned, padded)
