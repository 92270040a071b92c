"""Concat and Slice (concat_layer.cpp, slice_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape
from caffe_compat.layers.fields import axis_of
from caffe_compat.layers.registry import register


@register("Concat")
class Concat(Layer):
    """The bottoms one after the other along `axis`; all other axes must agree."""

    bottoms = Count(1)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.axis = axis_of(self.name, param.concat_param, "concat_dim")

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        first = bottom_shapes[0]
        axis = self.canonical_axis(self.axis, first)
        for index, shape in enumerate(bottom_shapes):
            if len(shape) != len(first) or shape[:axis] + shape[axis + 1 :] != first[:axis] + first[axis + 1 :]:
                raise ShapeError(
                    f"layer '{self.name}': bottom {index} '{self.param.bottom[index]}' has shape {shape}, bottom 0 "
                    f"{first}; Concat needs equal axes but for axis {axis}"
                )
        return [(*first[:axis], sum(shape[axis] for shape in bottom_shapes), *first[axis + 1 :])]

    def forward(self, *bottoms: Tensor) -> Tensor:
        return bottoms[0] if len(bottoms) == 1 else torch.cat(bottoms, self.axis)


@register("Slice")
class Slice(Layer):
    """The bottom cut along `axis`: at the `slice_point`s, or into equal parts when none is given."""

    tops = Count(1)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.axis = axis_of(self.name, param.slice_param, "slice_dim")
        self.slice_points: tuple[int, ...] = tuple(param.slice_param.slice_point)
        if self.slice_points and len(self.slice_points) != len(param.top) - 1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': slice_param.slice_point is given {len(self.slice_points)} times for "
                f"{len(param.top)} tops; give one fewer than there are tops, or none"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        axis = self.canonical_axis(self.axis, shape)
        return [(*shape[:axis], size, *shape[axis + 1 :]) for size in self._sizes(shape[axis])]

    def forward(self, *bottoms: Tensor) -> Any:
        (x,) = bottoms
        parts = torch.split(x, self._sizes(x.shape[self.axis]), self.axis)
        return parts if len(parts) > 1 else parts[0]

    def _sizes(self, size: int) -> list[int]:
        """How long each top is along the axis, for a bottom of `size` there."""
        number = len(self.param.top)
        if not self.slice_points:
            if size % number:
                raise ShapeError(
                    f"layer '{self.name}': axis {self.axis} of size {size} cannot be cut into {number} equal tops; "
                    "give slice_point"
                )
            return [size // number] * number
        ends = (0, *self.slice_points, size)
        sizes = [end - start for start, end in pairwise(ends)]
        if min(sizes) <= 0:
            raise ShapeError(
                f"layer '{self.name}': slice_point {list(self.slice_points)} must increase and lie between 0 and "
                f"{size}, the size of axis {self.axis}"
            )
        return sizes
