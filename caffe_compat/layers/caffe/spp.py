"""SPP, spatial pyramid pooling (spp_layer.cpp of Caffe 1.0)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Layer, Shape
from caffe_compat.layers.caffe.pooling import Plan, average_pool, make_plan, max_pool, stochastic_pool
from caffe_compat.layers.registry import register
from caffe_compat.layers.windows import Windows


@register("SPP")
class SPP(Layer):
    """Spatial pyramid pooling (He et al. 2014): level i pools each plane into 2^i by 2^i bins.

    (batch, channels, height, width) to (batch, channels * bins of all levels); with pyramid_height 1 to
    (batch, channels, 1, 1), as Caffe leaves the only level unflattened.
    """

    def setup(self, bottom_shapes: list[Shape]) -> None:
        param = self.param.spp_param
        self.levels: int = param.pyramid_height
        self.pool: str = type(param).PoolMethod.Name(param.pool)
        if self.levels < 1:
            raise UnsupportedParameterError(f"layer '{self.name}': pyramid_height is {self.levels}; give 1 or more")

    def plans(self, shape: Shape) -> list[Plan]:
        """One plan a level; the bins are as large as needed, and padded at both ends by half of what they exceed."""
        if len(shape) != 4:
            raise ShapeError(f"layer '{self.name}': bottom {shape} must have 4 axes (batch, channels, height, width)")
        plans = []
        for level in range(self.levels):
            bins = 2**level
            kernel = tuple(-(-n // bins) for n in shape[2:])
            pad = tuple((k * bins - n + 1) // 2 for k, n in zip(kernel, shape[2:], strict=True))
            if any(p >= k for p, k in zip(pad, kernel, strict=True)):
                raise ShapeError(
                    f"layer '{self.name}': a plane of {shape[2]}x{shape[3]} is too small for {bins}x{bins} bins; "
                    f"use pyramid_height {level}"
                )
            plans.append(make_plan(self.name, tuple(shape[2:]), Windows(kernel, kernel, pad, (1, 1)), True))
        return plans

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        batch, channels = bottom_shapes[0][:2]
        outputs = [plan.output for plan in self.plans(bottom_shapes[0])]
        if self.levels == 1:
            return [(batch, channels, *outputs[0])]
        return [(batch, channels * sum(math.prod(output) for output in outputs))]

    def forward(self, *bottoms: Tensor) -> Tensor:
        pooled = [self._pooled(bottoms[0], plan) for plan in self.plans(bottoms[0].shape)]
        return pooled[0] if self.levels == 1 else torch.cat([level.flatten(1) for level in pooled], dim=1)

    def _pooled(self, bottom: Tensor, plan: Plan) -> Tensor:
        ways: dict[str, Callable[[], Any]] = {
            "MAX": lambda: max_pool(bottom, plan)[0],
            "AVE": lambda: average_pool(bottom, plan),
            "STOCHASTIC": lambda: stochastic_pool(bottom, plan, self.context.phase == "TRAIN"),
        }
        return ways[self.pool]()  # type: ignore[no-any-return]
