"""DepthwiseConvolution, ConvolutionDepthwise of MobileNet forks: Caffe's Convolution with a group for each channel."""

from __future__ import annotations

from caffe_compat.layers.caffe.convolution import Convolution
from caffe_compat.layers.registry import register


@register("DepthwiseConvolution")
class DepthwiseConvolution(Convolution):
    """Convolution under another name, `group` as the prototxt says (yonghenglh6/DepthwiseConvolution)."""


@register("ConvolutionDepthwise")
class ConvolutionDepthwise(Convolution):
    """One kernel a channel, whatever num_output and group say (conv_dw_layer.cpp of Tiny-DSOD and many SSD forks)."""

    def _check_channels(self) -> None:
        self.outputs = self.group = self.channels
        super()._check_channels()
