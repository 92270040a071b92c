"""SegmentationEvaluate (segmentation_evaluate_layer.cpp of eric612/MobileNet-YOLO)."""

from __future__ import annotations

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Layer, Shape, exactly
from caffe_compat.layers.registry import register


@register("SegmentationEvaluate")
class SegmentationEvaluate(Layer):
    """The intersection over union of every channel, top (1, 1, 1, C): values and labels above `threshold` count.

    Of the first item of the batch, as in the fork; 0 where the two share nothing. Bottoms of one size only: where the
    sizes differ the fork resizes pictures of 8 bits. No gradient.
    """

    gradient = "none"
    bottoms = exactly(2)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        found, labels = bottom_shapes
        if len(found) != 4 or len(labels) != 4 or found[1] != labels[1]:
            raise ShapeError(f"layer '{self.name}': bottoms {found} and {labels} must both be (N, C, H, W)")
        self.need_items(bottom_shapes)
        self.need_items(bottom_shapes, 1)
        return [(1, 1, 1, labels[1])]

    @torch.no_grad()
    def forward(self, *bottoms: Tensor) -> Tensor:
        found, labels = (bottom[0] > self.param.segmentation_evaluate_param.threshold for bottom in bottoms)
        if found.shape != labels.shape:
            raise UnsupportedParameterError(
                f"layer '{self.name}': planes of {tuple(found.shape[1:])} and {tuple(labels.shape[1:])}; only equal "
                "sizes are implemented"
            )
        shared = (found & labels).sum((1, 2))
        union = (found | labels).sum((1, 2)).clamp(min=1)
        shares: Tensor = (shared / union).to(bottoms[0].dtype)
        return shares.view(1, 1, 1, -1)
