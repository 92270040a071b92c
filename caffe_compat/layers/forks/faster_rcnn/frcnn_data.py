"""FrcnnRoiData and FrcnnVidData (frcnn_roi_data_layer.cpp, frcnn_vid_data_layer.cpp of makefile/frcnn); not read."""

from __future__ import annotations

from caffe_compat.layers.forks.data import ForkData
from caffe_compat.layers.registry import register


@register("FrcnnRoiData")
@register("FrcnnVidData")
class FrcnnData(ForkData):
    """Images, or frames of videos, of which only the shape is known; labels count as one value an item."""
