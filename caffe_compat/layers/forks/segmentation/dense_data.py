"""DenseImageData, ImageLabelmapData, ImageSegData, SegData of segmentation forks: a label a pixel; files are not read.

Source: dense_image_data_layer.cpp of alexgkendall/caffe-segnet, image_labelmap_data_layer.cpp of s9xie/hed,
image_seg_data_layer.cpp of DeepLab and hszhao/PSPNet, and SegData of yjxiong/caffe.
"""

from __future__ import annotations

from caffe_compat.layers.base import Shape
from caffe_compat.layers.forks.data import ForkData
from caffe_compat.layers.registry import register


@register("DenseImageData")
@register("ImageLabelmapData")
@register("ImageSegData")
@register("SegData")
class DenseData(ForkData):
    """Images with a label for every pixel, (batch, 1, height, width); a third top has the size of each image."""

    def labels(self, images: Shape) -> list[Shape]:
        return [(images[0], 1, *images[2:]), (images[0], 1, 1, 2)]
