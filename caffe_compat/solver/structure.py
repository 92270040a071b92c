"""What a solver does, beside decay and force, to the structure of weights: groups that vanish, ranks that fall.

    breadth_decay x breadth_decay_mult               group lasso, one group a filter (SSL)
    kernel_shape_decay x kernel_shape_decay_mult     group lasso, one group a place of the kernel, by conv group
    block_group_decay x block_group_lasso            group lasso, blocks of ydimen filters by xdimen places
    prune_threshold                                  after each update, weights no larger become 0 (connection pruning)
    connectivity_mode                                a layer's zeros stay zeros: one by one, or whole rows and columns
    spectral_decay, spectral_decay_type              a penalty on singular values
    rank_pruning_interval, rank_pruning_keep         trained rank pruning: now and then cut to the rank of that energy

Blobs with fewer than 2 axes are left alone. The penalties on ranks act where force_mult is not 0, times force_mult;
prune_threshold acts where decay_mult is not 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import SolverError
from caffe_compat.net.net import Net
from caffe_compat.net.params import LearnableParam
from caffe_compat.solver.regularizers.group_lasso import Blocks, group_lasso_penalty
from caffe_compat.solver.regularizers.registry import regularizer
from caffe_compat.solver.regularizers.spectral import SPECTRAL_TYPES, truncate


@dataclass(frozen=True)
class StructureConfig:
    """The fields of a SolverParameter that this module is about; by default all are off."""

    breadth_decay: float
    kernel_shape_decay: float
    block_group_decay: float
    prune_threshold: float
    spectral_decay: float
    spectral_decay_type: str
    rank_pruning_interval: int
    rank_pruning_keep: float


STRUCTURE_FIELDS = tuple(field.name for field in fields(StructureConfig))


def read_structure(param: Any) -> StructureConfig:
    """The settings of the SolverParameter `param`; SolverError names field, value and what is wanted."""
    config = StructureConfig(**{name: getattr(param, name) for name in STRUCTURE_FIELDS})
    for name, value in vars(config).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise SolverError(f"{name} is {value:g}; wanted a finite number")
    for name in ("prune_threshold", "rank_pruning_interval"):
        if getattr(config, name) < 0:
            raise SolverError(f"{name} is {getattr(config, name):g}; wanted 0 or more")
    if not 0 < config.rank_pruning_keep <= 1:
        raise SolverError(f"rank_pruning_keep is {config.rank_pruning_keep:g}; wanted above 0 and at most 1")
    if config.spectral_decay_type not in SPECTRAL_TYPES:
        allowed = ", ".join(SPECTRAL_TYPES)
        raise SolverError(f"spectral_decay_type is '{config.spectral_decay_type}'; allowed: {allowed}")
    return config


class Structure:
    """Applies a StructureConfig to the learnable parameters of a net, in Caffe's order."""

    def __init__(self, config: StructureConfig, net: Net) -> None:
        params = net.learnable_params
        scnn = net.compat == "scnn"  # which prunes and freezes in its own way, see methods/scnn.py
        banks = [param.tensor.dim() >= 2 for param in params]
        self._config = config
        self._blocks = list(_blocks(config, net, params, vectors=scnn))
        self._spectral = [config.spectral_decay * p.force_mult if banks[i] else 0.0 for i, p in enumerate(params)]
        self._pruned = [i for i, p in enumerate(params) if banks[i] and p.decay_mult and config.prune_threshold]
        self._pruned = [] if scnn else self._pruned
        interval = config.rank_pruning_interval
        self._truncated = [i for i, p in enumerate(params) if banks[i] and p.force_mult and interval]
        modes = {} if scnn else {i: connectivity(net, p) for i, p in enumerate(params) if banks[i]}
        self._modes = {i: mode for i, mode in modes.items() if mode}
        self._frozen: dict[int, Tensor] = {}  # the zeros of this iteration that stay
        if (config.spectral_decay or config.rank_pruning_interval) and not any(p.force_mult for p in params):
            field = "spectral_decay" if config.spectral_decay else "rank_pruning_interval"
            raise SolverError(f"{field} acts where force_mult is not 0, but net '{net.graph.name}' sets none; set it")

    @property
    def active(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._blocks or any(self._spectral) or self._pruned or self._truncated or self._modes)

    @property
    def claims(self) -> list[tuple[str, str, frozenset[int]]]:
        """(field, kind, numbers of the parameters) of what contradicts methods that spread filters."""
        spectral = frozenset(index for index, strength in enumerate(self._spectral) if strength > 0)
        return [
            ("spectral_decay", "attracts", spectral),
            ("rank_pruning_interval", "attracts", frozenset(self._truncated)),
        ]

    def penalty(self, weights: list[Tensor]) -> float:
        """The value of the group lasso for these weights."""
        return group_lasso_penalty(weights, self._blocks)

    def regularize(self, weights: list[Tensor], gradients: list[Tensor]) -> None:
        """Add the penalties to the gradients, and take away what would bring a frozen zero back."""
        if self._blocks:
            regularizer("group_lasso")(weights, gradients, self._blocks)
        if any(self._spectral):
            regularizer("spectral")(weights, gradients, self._spectral, penalty=self._config.spectral_decay_type)
        self._frozen = {index: _zeros(weights[index], mode) for index, mode in self._modes.items()}
        for index, zeros in self._frozen.items():
            gradients[index].masked_fill_(zeros, 0)

    def prune(self, weights: list[Tensor], iteration: int) -> None:
        """After the update that ends `iteration` (from 1): small weights become 0, ranks are cut where that is due."""
        for index, zeros in self._frozen.items():
            weights[index].masked_fill_(zeros, 0)  # a history from before the freeze may still move them
        for index in self._pruned:
            weights[index].masked_fill_(weights[index].abs() <= self._config.prune_threshold, 0)
        if self._truncated and iteration % self._config.rank_pruning_interval == 0:
            for index in self._truncated:
                truncate(weights[index], self._config.rank_pruning_keep)


def _blocks(
    config: StructureConfig, net: Net, params: Sequence[LearnableParam], vectors: bool = False
) -> Iterator[Blocks]:
    """vectors: blobs of one axis too, as a matrix of one column."""
    for index, param in enumerate(params):
        if param.tensor.dim() < (1 if vectors else 2):
            continue
        layer = net.layers[param.layer].param
        position = param.users[0][1]
        if position >= len(layer.param):
            continue
        spec = layer.param[position]
        filters, values = len(param.tensor), param.tensor[0].numel()
        group = group_of(net, param)
        wanted = [
            (1, values, config.breadth_decay * spec.breadth_decay_mult),
            (filters // group, 1, config.kernel_shape_decay * spec.kernel_shape_decay_mult),
        ] + [
            (block.ydimen, block.xdimen, config.block_group_decay * block.block_decay_mult)
            for block in spec.block_group_lasso
        ]
        for rows, columns, strength in wanted:
            if strength == 0:
                continue
            if rows < 1 or columns < 1 or filters % rows or values % columns:
                raise SolverError(
                    f"layer '{param.layer}': block_group_lasso has ydimen {rows} and xdimen {columns}; "
                    f"wanted divisors of {filters} filters and of {values} values a filter"
                )
            yield Blocks(index, rows, columns, strength)


def group_of(net: Net, param: LearnableParam) -> int:
    """The groups that the rows of `param` are in: those of a Convolution, for its weights and its bias."""
    layer = net.layers[param.layer].param
    return int(layer.convolution_param.group) if layer.type == "Convolution" else 1


def connectivity(net: Net, param: LearnableParam) -> str:
    """ "ELTWISE", "GRPWISE", or "" where the layer is CONNECTED."""
    layer = net.layers[param.layer].param
    name: str = layer.ConnectivityMode.Name(layer.connectivity_mode)
    return name.removeprefix("DISCONNECTED_").replace("CONNECTED", "")


def _zeros(weight: Tensor, mode: str) -> Tensor:
    """Which weights are zeros that stay: every one, or those of a row or a column of zeros. bool, shape of `weight`."""
    zero = weight == 0
    if mode == "ELTWISE":
        return zero
    matrix = zero.flatten(1)
    return (matrix.all(1, keepdim=True) | matrix.all(0, keepdim=True)).reshape(weight.shape)


@torch.no_grad()
def zero_shares(weight: Tensor) -> dict[str, float]:
    """Shares of zeros, in [0, 1], of weight (filters, ...): single elements, whole rows (filters), whole columns.

    A weight of one axis is one column.
    """
    zero = (weight == 0).reshape(len(weight), -1)
    parts = {"elements": zero, "rows": zero.all(1), "columns": zero.all(0)}
    return {name: float(part.double().mean()) for name, part in parts.items()}
