"""What the branch scnn of wenwei202/caffe (d80a5e1) does to weights that Caffe does not: compat "scnn".

After every update, every |w| < 1e-4 of every learnable parameter becomes 0, biases and BatchNorm's too (ZeroOut in
blob.cpp). Where a layer is DISCONNECTED, its zeros are noted once, when weights are copied in from a .caffemodel, and
from then on no step moves them; a weight that becomes 0 later may come back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from caffe_compat.net.net import Net
from caffe_compat.solver.methods.method import Method, Step
from caffe_compat.solver.structure import connectivity, group_of, zero_shares

ZEROUT_THRESHOLD = 1e-4


class Scnn(Method):
    """threshold: prune_threshold of the solver, where it has one, in place of 1e-4."""

    title = "SSL (scnn)"
    kind = "shrinks"

    def __init__(self, net: Net, threshold: float = 0.0) -> None:
        self._threshold = threshold or ZEROUT_THRESHOLD
        params = net.learnable_params
        self._names = [f"{param.layer}, blob {param.users[0][1]}" for param in params]
        self._modes = {index: mode for index, param in enumerate(params) if (mode := connectivity(net, param))}
        self._groups = {index: group_of(net, params[index]) for index in self._modes}
        self._shapes = {index: tuple(params[index].tensor.shape) for index in self._modes}
        self.connected: dict[int, Tensor] = {}  # True where a step may move a weight

    def loaded(self, weights: list[Tensor]) -> None:
        self._zero_out([weights[index] for index in self._modes])
        self.connected = {
            index: ~_noted(weights[index] == 0, mode, self._groups[index]) for index, mode in self._modes.items()
        }

    def after_update(self, step: Step) -> None:
        for index, connected in self.connected.items():
            step.weights[index].masked_fill_(~connected, 0)
        self._zero_out(step.weights)

    def report(self, weights: list[Tensor]) -> Iterable[str]:
        for name, weight in zip(self._names, weights, strict=True):
            shares = ", ".join(f"{part} {100 * share:.4g}%" for part, share in zero_shares(weight).items())
            yield f"{name}: zeros of {shares}"

    def state_dict(self) -> dict[str, Any]:
        return {"connected": {str(index): mask for index, mask in self.connected.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        connected = {int(index): torch.as_tensor(mask) for index, mask in state["connected"].items()}
        for index, mask in connected.items():
            if tuple(mask.shape) != self._shapes.get(index):
                raise ValueError(
                    f"the mask of parameter {index} is {tuple(mask.shape)}, here {self._shapes.get(index)}"
                )
        self.connected = connected

    def _zero_out(self, weights: list[Tensor]) -> None:
        for weight in weights:
            weight.masked_fill_(weight.abs() < self._threshold, 0)


def _noted(zero: Tensor, mode: str, group: int) -> Tensor:
    """Which of the zeros stay: all of them, or those of rows and columns of zeros, group by group."""
    if mode == "ELTWISE" or zero.dim() < 2:
        return zero
    matrix = zero.reshape(group, len(zero) // group, -1)
    whole: Tensor = matrix.all(2, keepdim=True) | matrix.all(1, keepdim=True)
    return whole.expand(matrix.shape).reshape(zero.shape)
