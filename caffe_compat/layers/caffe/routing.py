"""Layers that only move values: Concat, Slice, Split, Flatten, Reshape, Silence (the files of these names in Caffe)."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape, exactly
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


@register("Gather")
@register("Scatter")
class Gather(Layer):
    """Each top is its bottom: yjxiong/caffe gathers batches of all devices, and scatters them; here there is one."""

    bottoms = Count(1)
    tops = Count(1)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return bottom_shapes

    def forward(self, *bottoms: Tensor) -> Any:
        return bottoms[0] if len(bottoms) == 1 else bottoms


@register("Split")
class Split(Layer):
    """The bottom at every top; the gradient is the sum of theirs."""

    works_in_place = False
    tops = Count(1)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return [bottom_shapes[0]] * len(self.param.top)

    def forward(self, *bottoms: Tensor) -> Any:
        number = len(self.param.top)
        return bottoms * number if number > 1 else bottoms[0]


@register("Silence")
class Silence(Layer):
    """Takes any bottoms and gives nothing, so that they are no outputs of the net."""

    bottoms = Count(1)
    tops = exactly(0)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return []

    def forward(self, *bottoms: Tensor) -> tuple[()]:
        return ()


@register("Flatten")
class Flatten(Layer):
    """Axes `axis` to `end_axis` (both included) made one."""

    works_in_place = False

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.axis: int = param.flatten_param.axis
        self.end_axis: int = param.flatten_param.end_axis

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        start = self.canonical_axis(self.axis, shape)
        end = self.canonical_axis(self.end_axis, shape, "end_axis")
        if end < start - 1:
            raise ShapeError(f"layer '{self.name}': end_axis {end} comes before axis {start}")
        return [(*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])]

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        return x.reshape(self.top_shapes([tuple(x.shape)])[0])


@register("Reshape")
class Reshape(Layer):
    """The same values in another shape.

    The `num_axes` axes from `axis` on (all that follow, by default) are replaced by `shape`: a positive dim stands for
    itself, 0 copies the bottom's at the same place, one -1 takes what is left.
    """

    works_in_place = False

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.reshape_param
        self.dims: Shape = tuple(field.shape.dim)
        self.axis: int = field.axis
        self.num_axes: int = field.num_axes
        if self.dims.count(-1) > 1 or min(self.dims, default=0) < -1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': reshape_param.shape {list(self.dims)} may hold one -1 and no other negative dim"
            )
        if self.num_axes < -1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': reshape_param.num_axes is {self.num_axes}; it must be -1 (all) or more"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        start, end = self._replaced_axes(shape)
        dims = [shape[start + i] if dim == 0 and start + i < len(shape) else dim for i, dim in enumerate(self.dims)]
        fixed = math.prod((*shape[:start], *shape[end:], *(dim for dim in dims if dim != -1)))
        count = math.prod(shape)
        if -1 in dims:
            if fixed == 0 or count % fixed:
                raise self._misfit(shape)
            dims[dims.index(-1)] = count // fixed
        elif fixed != count:
            raise self._misfit(shape)
        return [(*shape[:start], *dims, *shape[end:])]

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        return x.reshape(self.top_shapes([tuple(x.shape)])[0])

    def _replaced_axes(self, shape: Shape) -> tuple[int, int]:
        """The first of the replaced axes and the one after the last; a negative `axis` counts from behind the end."""
        start = self.axis if self.axis >= 0 else len(shape) + self.axis + 1
        end = len(shape) if self.num_axes == -1 else start + self.num_axes
        if not 0 <= start <= end <= len(shape):
            raise ShapeError(
                f"layer '{self.name}': reshape_param.axis {self.axis} and num_axes {self.num_axes} do not fit a bottom "
                f"of shape {shape}"
            )
        return start, end

    def _misfit(self, shape: Shape) -> ShapeError:
        return ShapeError(
            f"layer '{self.name}': a bottom of shape {shape} ({math.prod(shape)} values) does not fit "
            f"reshape_param.shape {list(self.dims)} at axis {self.axis}"
        )
