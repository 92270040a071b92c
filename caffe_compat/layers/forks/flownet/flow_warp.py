"""FlowWarp of FlowNet 2.0 (flow_warp_layer.cpp of lmb-freiburg/flownet2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Layer, Shape, exactly
from caffe_compat.layers.fields import enum_name
from caffe_compat.layers.registry import register


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
            places = (rows * width + columns).flatten(1)[:, None].expand(items, channels, height * width)
            return planes.gather(2, places).view(image.shape)

        upper = at(top, left) * (1 - across) + at(top, right) * across
        lower = at(bottom, left) * (1 - across) + at(bottom, right) * across
        fill = 0.0 if enum_name(self.param.flow_warp_param, "fill_value") == "ZERO" else math.nan
        return torch.where(inside[:, None], upper * (1 - down) + lower * down, fill)
