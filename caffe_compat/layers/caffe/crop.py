"""Crop (crop_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer, Shape, exactly
from caffe_compat.layers.registry import register


@register("Crop")
class Crop(Layer):
    """Bottom 0 cut to the size of bottom 1 in `axis` and all axes behind it, from `offset` on.

    offset: none (0), one for all these axes, or one for each. No gradient to bottom 1.
    """

    bottoms = exactly(2)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.axis: int = param.crop_param.axis
        self.offsets: tuple[int, ...] = tuple(param.crop_param.offset)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape, reference = bottom_shapes
        axis = self.canonical_axis(self.axis, shape)
        if len(reference) != len(shape):
            raise ShapeError(
                f"layer '{self.name}': bottom 1 '{self.param.bottom[1]}' has shape {reference}, wanted {len(shape)} "
                f"axes as bottom 0 {shape} has"
            )
        if len(self.offsets) > 1 and len(self.offsets) != len(shape) - axis:
            raise UnsupportedParameterError(
                f"layer '{self.name}': crop_param.offset is given {len(self.offsets)} times; give one, or one for each "
                f"of the {len(shape) - axis} axes from axis {axis} on"
            )
        for i, offset in enumerate(self._offsets(len(shape) - axis), axis):
            if offset + reference[i] > shape[i]:
                raise ShapeError(
                    f"layer '{self.name}': axis {i} of size {shape[i]} cannot be cropped to {reference[i]} from offset "
                    f"{offset}"
                )
        return [shape[:axis] + reference[axis:]]

    def forward(self, *bottoms: Tensor) -> Tensor:
        x, reference = bottoms
        axis = self.axis % x.dim()
        for i, offset in enumerate(self._offsets(x.dim() - axis), axis):
            x = x.narrow(i, offset, reference.shape[i])
        return x

    def _offsets(self, axes: int) -> tuple[int, ...]:
        return self.offsets if len(self.offsets) == axes else (self.offsets or (0,)) * axes
