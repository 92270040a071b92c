"""The layers of FlowNet 2.0 (lmb-freiburg/flownet2): Correlation, Correlation1D, FlowWarp, ChannelNorm, Resample, Mean.

Correlation and Resample have a GPU path only there; that is what they compute here.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape, exactly
from caffe_compat.layers.caffe.activation import Elementwise
from caffe_compat.layers.fields import enum_name
from caffe_compat.layers.registry import register


@register("Correlation")
class Correlation(Layer):
    """How well patches of bottom 0 fit patches of bottom 1 that are displaced by up to max_displacement.

    Top (N, D * D, H', W'), D displacements in y and x in steps of stride_2, y outside; a value is the mean, over the
    kernel_size^2 * C values of a patch, of products (MULTIPLY) or of absolute differences (SUBTRACT), places in steps
    of stride_1 of the bottoms padded by `pad`.
    """

    bottoms = exactly(2)
    rows = True  # whether patches are displaced in y too

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.correlation_param
        self.kernel: int = field.kernel_size
        self.reach: int = field.max_displacement
        self.pad: int = field.pad
        self.strides: tuple[int, int] = (field.stride_1, field.stride_2)
        self.multiplies = enum_name(field, "correlation_type") == "MULTIPLY"
        if self.kernel % 2 == 0 or min(self.strides) < 1 or not field.HasField("max_displacement"):
            raise UnsupportedParameterError(
                f"layer '{self.name}': correlation_param needs max_displacement, an odd kernel_size and positive "
                f"strides; found {self.reach}, {self.kernel} and {list(self.strides)}"
            )
        for name in ("do_abs", "single_direction"):
            if getattr(field, name):
                raise UnsupportedParameterError(f"layer '{self.name}': correlation_param.{name} is not implemented")

    @property
    def steps(self) -> list[tuple[int, int]]:
        """The displacements, y and x."""
        radius = self.reach // self.strides[1]
        along = [step * self.strides[1] for step in range(-radius, radius + 1)]
        return [(y, x) for y in (along if self.rows else [0]) for x in along]

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        a, b = bottom_shapes
        radius = self.kernel // 2
        border = (radius + (self.reach if self.rows else 0), radius + self.reach)
        if len(a) != 4 or a != b:
            raise ShapeError(f"layer '{self.name}': bottoms have shapes {a} and {b}, wanted one (N, C, H, W) for both")
        pads = (self.pad if self.rows else 0, self.pad)
        sizes = [
            math.ceil((size + 2 * pad - 2 * edge) / self.strides[0])
            for size, pad, edge in zip(a[2:], pads, border, strict=True)
        ]
        if min(sizes) < 1:
            raise ShapeError(f"layer '{self.name}': displacements of {self.reach} do not fit in a bottom of {a}")
        return [(a[0], len(self.steps), *sizes)]

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        return math.prod(top_shapes[0]) * self.kernel**2 * bottom_shapes[0][1]

    def forward(self, *bottoms: Tensor) -> Tensor:
        height, width = self.top_shapes([tuple(bottom.shape) for bottom in bottoms])[0][2:]
        pad_y, reach_y = (self.pad, self.reach) if self.rows else (0, 0)
        first, second = (functional.pad(bottom, (self.pad, self.pad, pad_y, pad_y)) for bottom in bottoms)
        extent_y, extent_x = ((size - 1) * self.strides[0] + self.kernel for size in (height, width))
        here = first[:, :, reach_y : reach_y + extent_y, self.reach : self.reach + extent_x]
        tops = []
        for y, x in self.steps:
            top, left = reach_y + y, self.reach + x
            there = second[:, :, top : top + extent_y, left : left + extent_x]
            values = here * there if self.multiplies else (here - there).abs()
            tops.append(functional.avg_pool2d(values.mean(1, keepdim=True), self.kernel, self.strides[0]))
        return torch.cat(tops, 1)


@register("Correlation1D")
class Correlation1D(Correlation):
    """Correlation along x alone: D displacements, no padding in y."""

    rows = False


@register("FlowWarp")
class FlowWarp(Layer):
    """Bottom 0 sampled bilinearly where bottom 1, (N, 2, H, W) x and y, points to; fill_value outside the image.

    A flow counts from the place itself. Samples between the last row or column and the edge take the last one.
    """

    bottoms = exactly(2)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        image, flow = bottom_shapes
        if len(image) != 4 or flow != (image[0], 2, *image[2:]):
            raise ShapeError(f"layer '{self.name}': bottoms have shapes {image} and {flow}, wanted (N, 2, H, W) behind")
        return [image]

    def forward(self, *bottoms: Tensor) -> Tensor:
        image, flow = bottoms
        items, channels, height, width = image.shape
        y, x = torch.meshgrid(
            torch.arange(height, device=image.device), torch.arange(width, device=image.device), indexing="ij"
        )
        x, y = x + flow[:, 0], y + flow[:, 1]
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        left, top = (where.detach().clamp(0, size - 1).long() for where, size in ((x, width), (y, height)))
        right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
        across, down = (x - left)[:, None], (y - top)[:, None]
        planes = image.flatten(2)

        def at(rows: Tensor, columns: Tensor) -> Tensor:
            places = (rows * width + columns).view(items, 1, -1).expand(items, channels, -1)
            return planes.gather(2, places).view(image.shape)

        upper = at(top, left) * (1 - across) + at(top, right) * across
        lower = at(bottom, left) * (1 - across) + at(bottom, right) * across
        fill = 0.0 if enum_name(self.param.flow_warp_param, "fill_value") == "ZERO" else math.nan
        return torch.where(inside[:, None], upper * (1 - down) + lower * down, fill)


@register("ChannelNorm")
class ChannelNorm(Layer):
    """The length of the vector of channels at each place: (N, 1, H, W)."""

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        (shape,) = bottom_shapes
        if len(shape) != 4:
            raise ShapeError(f"layer '{self.name}': a bottom of shape {shape} is not (N, C, H, W)")
        return [(shape[0], 1, *shape[2:])]

    def forward(self, *bottoms: Tensor) -> Tensor:
        top: Tensor = torch.linalg.vector_norm(bottoms[0], dim=1, keepdim=True)
        return top


@register("Resample")
@register("Downsample")
class Resample(Layer):
    """Another height and width: those of resample_param or downsample_param, or of bottom 1.

    Built for its shapes; where the size stays the values do too. Other sizes do not run: the fork's own filters differ
    from every other.
    """

    bottoms = Count(1, 2)

    @classmethod
    def shortcoming(cls, param: Any) -> str:
        return f"type {param.type} runs only where the size stays: the fork's own filters are not implemented"

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        field, below = self.param.resample_param, self.param.downsample_param
        size: Shape = (below.top_height, below.top_width)
        if self.param.type == "Resample":
            size = (field.height, field.width)
        size = bottom_shapes[1][2:] if len(bottom_shapes) > 1 else size
        if len(shape) != 4 or min(size) < 1:
            raise ShapeError(f"layer '{self.name}': a bottom of shape {shape} cannot become {tuple(size)}")
        return [(*shape[:2], *size)]

    def forward(self, *bottoms: Tensor) -> Tensor:
        if self.top_shapes([tuple(bottom.shape) for bottom in bottoms])[0] != tuple(bottoms[0].shape):
            raise UnsupportedParameterError(f"layer '{self.name}': {self.shortcoming(self.param)}")
        return bottoms[0]


@register("NegReLU")
class NegReLU(Elementwise):
    """min(x, 0) + negative_slope * max(x, 0)."""

    def forward(self, *bottoms: Tensor) -> Tensor:
        slope: float = self.param.relu_param.negative_slope
        return bottoms[0].clamp(max=0) + slope * bottoms[0].clamp(min=0)


@register("Mean")
class Mean(Layer):
    """output_scale * (input_scale * x -+ mean_scale * value), one `value` a channel over and over, for each bottom.

    operation SUBTRACT or ADD. A mean `file` is not read.
    """

    bottoms = Count(1)
    tops = Count(1)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.field = param.mean_param
        if self.field.HasField("file") or not self.field.value:
            raise UnsupportedParameterError(
                f"layer '{self.name}': mean_param needs value; a file of means is not implemented"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        for shape in bottom_shapes:
            if len(shape) < 2 or shape[1] % len(self.field.value):
                raise ShapeError(
                    f"layer '{self.name}': {len(self.field.value)} values do not go into the channels of {shape}"
                )
        return bottom_shapes

    def forward(self, *bottoms: Tensor) -> Any:
        sign = -1 if enum_name(self.field, "operation") == "SUBTRACT" else 1
        tops = []
        for bottom in bottoms:
            means = bottom.new_tensor(list(self.field.value)).repeat(bottom.shape[1] // len(self.field.value))
            means = means.view(1, -1, *[1] * (bottom.dim() - 2)) * (sign * self.field.mean_scale)
            tops.append(self.field.output_scale * (self.field.input_scale * bottom + means))
        return tops[0] if len(tops) == 1 else tuple(tops)
