"""CustomData of FlowNet 2.0 (custom_data_layer.cpp of lmb-freiburg/flownet2), whose files are not read here."""

from __future__ import annotations

from caffe_compat.layers.forks.data import ForkData
from caffe_compat.layers.registry import register


@register("CustomData")
class CustomData(ForkData):
    """Images of which only the shape is known; labels count as one value an item."""
