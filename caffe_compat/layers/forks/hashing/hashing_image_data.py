"""HashingImageData of leetonfreestyle/DMSH, whose files are not read here."""

from __future__ import annotations

from caffe_compat.layers.forks.data import ForkData
from caffe_compat.layers.registry import register


@register("HashingImageData")
class HashingImageData(ForkData):
    """Images of which only the shape is known; labels count as one value an item."""
