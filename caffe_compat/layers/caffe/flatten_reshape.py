"""Flatten and Reshape (flatten_layer.cpp, reshape_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer, Shape
from caffe_compat.layers.registry import register


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
