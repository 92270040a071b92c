"""Tile (tile_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer, Shape
from caffe_compat.layers.registry import register


@register("Tile")
class Tile(Layer):
    """The bottom repeated `tiles` times along `axis`."""

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.axis: int = param.tile_param.axis
        self.tiles: int = param.tile_param.tiles
        if self.tiles < 1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': tile_param.tiles is {self.tiles}; it must be given, and be 1 or more"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        axis = self.canonical_axis(self.axis, shape)
        return [(*shape[:axis], shape[axis] * self.tiles, *shape[axis + 1 :])]

    def forward(self, *bottoms: Tensor) -> Tensor:
        return torch.cat(bottoms * self.tiles, self.axis)
