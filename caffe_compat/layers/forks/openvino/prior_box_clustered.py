"""PriorBoxClustered (prior_box_clustered_layer.cpp of openvinotoolkit/training_toolbox_caffe)."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.forks.ssd.prior_box import PriorBox
from caffe_compat.layers.registry import register


@register("PriorBoxClustered")
class PriorBoxClustered(PriorBox):
    """Default boxes as PriorBox's, whose widths and heights in pixels are given one by one.

    Top (1, 2, H * W * boxes * 4): the boxes around every place of bottom 0, in the order of prior_box_param.width and
    height, then their variances. min_size, max_size, aspect_ratio and flip say nothing here.
    """

    def _sizes_and_shifts(self, field: Any) -> tuple[np.ndarray, np.ndarray]:
        widths, heights = list(field.width), list(field.height)
        if not widths or len(widths) != len(heights) or min(widths + heights) <= 0:
            raise UnsupportedParameterError(
                f"layer '{self.name}': prior_box_param has {len(widths)} widths and {len(heights)} heights, the least "
                f"{min(widths + heights, default=0):g}; give as many of both, all positive"
            )
        sizes = np.array(list(zip(widths, heights, strict=True)), np.float32)
        return sizes, np.zeros_like(sizes)
