"""Filter (filter_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Count, Layer, Shape
from caffe_compat.layers.registry import register


@register("Filter")
class Filter(Layer):
    """The items (axis 0) of every bottom but the last at which the last, the selector, is not 0.

    The shapes at setup are those of a selector that keeps everything.
    """

    bottoms = Count(2)
    tops = Count(1)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        *shapes, selector = bottom_shapes
        if len(self.param.top) != len(shapes):
            raise ShapeError(
                f"layer '{self.name}': {len(self.param.top)} tops for {len(shapes)} bottoms and a selector; give one "
                "top for each bottom but the last"
            )
        if not selector or math.prod(selector[1:]) != 1:
            raise ShapeError(
                f"layer '{self.name}': selector '{self.param.bottom[-1]}' has shape {selector}, wanted one value an "
                "item"
            )
        for index, shape in enumerate(shapes):
            if shape[:1] != selector[:1]:
                raise ShapeError(
                    f"layer '{self.name}': bottom {index} '{self.param.bottom[index]}' has shape {shape}, wanted "
                    f"{selector[0]} items as the selector has"
                )
        return shapes

    def forward(self, *bottoms: Tensor) -> Any:
        *blobs, selector = bottoms
        kept = selector.detach().flatten().nonzero().flatten()
        tops = tuple(blob.index_select(0, kept) for blob in blobs)
        return tops if len(tops) > 1 else tops[0]
