"""Layers that pick a part of a blob: Crop, BatchReindex, Filter; and Parameter, which is a blob itself.

Source: the files of these names in Caffe 1.0.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape, exactly
from caffe_compat.layers.registry import register
from caffe_compat.proto.schema import FillerParameter


@register("CropCenter")
class CropCenter(Layer):
    """The bottom without the first and last crop_size[k] values of each axis k (waifu2x-caffe's fork)."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.lost: tuple[int, ...] = tuple(param.crop_center_param.crop_size)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        sizes = [size - 2 * lost for size, lost in zip(shape, self.lost, strict=False)]
        if len(self.lost) > len(shape) or min(sizes, default=1) < 1:
            raise ShapeError(
                f"layer '{self.name}': crop_center_param.crop_size {list(self.lost)} leaves nothing of a bottom of "
                f"shape {shape}"
            )
        return [(*sizes, *shape[len(sizes) :])]

    def forward(self, *bottoms: Tensor) -> Tensor:
        ends = zip(self.lost, bottoms[0].shape, strict=False)
        return bottoms[0][tuple(slice(lost, size - lost) for lost, size in ends)]


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


@register("BatchReindex")
class BatchReindex(Layer):
    """The items of bottom 0 (axis 0) that bottom 1 names, in that order; an item may come often or never."""

    bottoms = exactly(2)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape, index = bottom_shapes
        if len(index) != 1:
            raise ShapeError(
                f"layer '{self.name}': bottom 1 '{self.param.bottom[1]}' has shape {index}, wanted one axis of indices"
            )
        return [index + shape[1:]]

    def forward(self, *bottoms: Tensor) -> Tensor:
        x, index = bottoms[0], bottoms[1].detach().long()
        if index.numel():
            low, high = torch.stack(torch.aminmax(index)).tolist()
            if low < 0 or high >= x.shape[0]:
                raise DataError(
                    f"layer '{self.name}': bottom 1 '{self.param.bottom[1]}' holds index {low if low < 0 else high}, "
                    f"wanted 0 to {x.shape[0] - 1}"
                )
        return x.index_select(0, index)


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


@register("Parameter")
class Parameter(Layer):
    """A learnable blob of parameter_param.shape as the top; it starts as zeros."""

    bottoms = exactly(0)

    def setup(self, bottom_shapes: list[Shape]) -> None:
        self.add_blob(tuple(self.param.parameter_param.shape.dim), FillerParameter())

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return [self.blob_shapes[0]]

    def forward(self, *bottoms: Tensor) -> Tensor:
        return self.blob(0)
