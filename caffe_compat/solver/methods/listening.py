"""Listens in on passes: A dL/dA of the bottoms of filter banks, per image and channel, for Group Fisher."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from caffe_compat.solver.methods.method import hook_bottoms, hook_forward


class Listener:
    """parts: reader -> its calls since `forget`, each (images, channels). maps: layer -> (images, places of output)."""

    def __init__(self, owner: str, banks: Mapping[str, Any], readers: Iterable[str]) -> None:
        self.parts: dict[str, list[Tensor]] = {}
        self.maps: dict[str, tuple[int, int]] = {}
        for name, layer in banks.items():
            hook_forward(layer, owner, self._measure(name))
        for name in readers:
            hook_bottoms(banks[name], owner, self._listen(name))

    def forget(self) -> None:
        """Begin an iteration."""
        self.parts = {}

    def scores(self, count: int, owners: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
        """sum over images of (sum over coupled layers of dL_n / dm_i)^2 of every unit: (count,), float64.

        owners: reader -> (its input channels, the number of the unit of each).
        """
        added = torch.zeros(count, dtype=torch.float64)
        for k in range(max((len(calls) for calls in self.parts.values()), default=0)):
            total: Tensor | None = None
            for name, calls in self.parts.items():
                if k >= len(calls) or not calls[k].dim():
                    continue
                part = calls[k].double().cpu()
                total = part.new_zeros(len(part), count) if total is None else total
                channels, units = owners[name]
                total.index_add_(1, units, part[:, channels])
            if total is not None:
                added += total.square().sum(0)
        return added

    def _measure(self, name: str) -> Any:
        def on_forward(module: Any, bottoms: Any, tops: Any) -> None:
            every = tops if isinstance(tops, tuple) else (tops,)
            if torch.is_grad_enabled():
                self.maps[name] = (every[0].shape[0], sum(math.prod(top.shape[2:]) for top in every))

        return on_forward

    def _listen(self, name: str) -> Any:
        """The gradient that layer `name` alone gives each bottom: through a view of its own."""

        def on_bottoms(module: Any, bottoms: Any) -> Any:
            if not torch.is_grad_enabled():
                return None
            calls = self.parts.setdefault(name, [])
            place, flat = len(calls), module.param.type == "InnerProduct"
            calls.append(torch.zeros(()))
            views = []
            for bottom in bottoms:
                views.append(bottom.view_as(bottom) if bottom.requires_grad else bottom)
                if bottom.requires_grad:
                    values = bottom.detach()
                    views[-1].register_hook(lambda g, a=values: _take(calls, place, flat, a, g))
            return tuple(views)

        return on_bottoms


def _take(calls: list[Tensor], place: int, flat: bool, activation: Tensor, gradient: Tensor) -> None:
    product = activation * gradient
    calls[place] = calls[place] + (product.flatten(1) if flat else product.flatten(2).sum(2))
