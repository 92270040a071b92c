"""MultiLabelImageData (multi_label_image_data_layer.cpp of happynear/caffe-windows), whose files are not read here."""

from __future__ import annotations

from caffe_compat.layers.forks.data import ForkData
from caffe_compat.layers.registry import register


@register("MultiLabelImageData")
class MultiLabelImageData(ForkData):
    """Images of which only the shape is known; labels count as one value an item."""
