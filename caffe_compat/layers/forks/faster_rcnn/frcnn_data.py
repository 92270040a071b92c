"""FrcnnRoiData, FrcnnVidData (frcnn_roi_data_layer.cpp and kin of makefile/frcnn), whose files are not read here."""

from __future__ import annotations

from caffe_compat.layers.forks.data import ForkData
from caffe_compat.layers.registry import register


@register("FrcnnRoiData")
@register("FrcnnVidData")
class FrcnnData(ForkData):
    """Images, or frames of videos, of which only the shape is known; labels count as one value an item."""
