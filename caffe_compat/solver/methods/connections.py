"""Convolutions with a connection_density while they train: no masked weight moves, connections are added in stages."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import SolverError
from caffe_compat.layers.caffe.connections import grow
from caffe_compat.net.net import Net
from caffe_compat.solver.methods.method import Method, Step

logger = logging.getLogger(__name__)


def read_growth(param: Any) -> tuple[tuple[int, float], ...]:
    """(iteration, density) of each connection_growth, by iteration; SolverError for what cannot be."""
    stages = tuple(sorted((stage.iteration, stage.density) for stage in param.connection_growth))
    for iteration, density in stages:
        if iteration < 0 or not 0 < density <= 1:
            raise SolverError(
                f"connection_growth has iteration {iteration} and density {density:g}; wanted 0 or more, and a share "
                "above 0"
            )
    if list(stages) != sorted(stages, key=lambda stage: stage[1]):
        raise SolverError("connection_growth has a density that falls; connections are added, not taken away")
    return stages


class Connections(Method):
    """The masks of the layers are its state: a resumed run has those of the run that wrote the snapshot."""

    title = "Power of Sparsity"

    def __init__(self, net: Net, growth: Sequence[tuple[int, float]]) -> None:
        self._growth = tuple(growth)
        places = {user: index for index, param in enumerate(net.learnable_params) for user in param.users}
        self._layers: dict[str, Any] = {
            name: layer for name, layer in net.layers.items() if getattr(layer, "connections", None) is not None
        }
        self._weights = {name: places[name, 0] for name in self._layers}

    def before_pass(self, step: Step) -> None:
        for iteration, density in self._growth:
            if iteration == step.iteration:
                logger.info("Iteration %d: connections grow to a density of %g", iteration, density)
                for layer in self._layers.values():
                    layer.connections = grow(layer.connections, density)
        self._mask(step.weights)

    def after_update(self, step: Step) -> None:
        self._mask(step.weights)

    def report(self, weights: list[Tensor]) -> Iterable[str]:
        shares = ", ".join(
            f"{n} {100 * float(each.connections.double().mean()):.4g}%" for n, each in self._layers.items()
        )
        yield f"{self.title}: connections of {shares}"

    def state_dict(self) -> dict[str, Any]:
        return {"connections": {name: layer.connections for name, layer in self._layers.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        masks = {name: torch.as_tensor(mask) for name, mask in state["connections"].items()}
        for name, layer in self._layers.items():
            if name not in masks or masks[name].shape != layer.connections.shape:
                found = tuple(masks[name].shape) if name in masks else None
                raise ValueError(f"the mask of layer '{name}' is {found}, here {tuple(layer.connections.shape)}")
            layer.connections = masks[name].to(layer.connections.device)

    def _mask(self, weights: list[Tensor]) -> None:
        for name, index in self._weights.items():
            mask = self._layers[name].connections
            weights[index].mul_(mask[(..., *[None] * (weights[index].dim() - 2))])
