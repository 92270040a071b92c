"""Convolution that rectifies too (mkldnn_convolution_layer.cpp of intel/caffe)."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from caffe_compat.layers.caffe.convolution import Convolution
from caffe_compat.layers.registry import variant


class RectifiedConvolution(Convolution):
    """Intel's Convolution with relu: x where x > 0, else negative_slope * x, of what Caffe's gives."""

    fork_fields = Convolution.fork_fields | {"convolution_param.relu", "convolution_param.negative_slope"}

    def forward(self, *bottoms: Tensor) -> Tensor | tuple[Tensor, ...]:
        found = super().forward(*bottoms)
        slope: float = self.param.convolution_param.negative_slope
        tops = found if isinstance(found, tuple) else (found,)
        rectified = tuple(functional.leaky_relu(top, slope) for top in tops)
        return rectified if isinstance(found, tuple) else rectified[0]


@variant("Convolution", "convolution_param.relu")
def fused_convolution(param: Any) -> type[Convolution] | None:
    return RectifiedConvolution if param.convolution_param.relu else None
