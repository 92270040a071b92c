"""The sparse group lasso of solver/regularizers/sparse_group.py, as the fields of a solver and a net ask for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import SolverError
from caffe_compat.net.net import Net
from caffe_compat.solver.methods.method import Entry, Method, Step, acting, read_config
from caffe_compat.solver.regularizers.sparse_group import (
    PROXES,
    GroupTerm,
    prox,
    sparse_group,
    sparse_group_penalty,
    sparse_shares,
)
from caffe_compat.solver.words import at_least, finite, one_of


@dataclass(frozen=True)
class SparseGroupConfig:
    """The fields sparse_group_* and beta_growth, beta_growth_interval."""

    decay: float
    penalty: str
    beta: float
    growth: float
    growth_interval: int
    alpha: float
    samples: float


def read_sparse_group(param: Any) -> SparseGroupConfig | None:
    """The settings of the SolverParameter `param`; None where sparse_group_decay is 0."""
    names = {"growth": "beta_growth", "growth_interval": "beta_growth_interval"}
    config = read_config(SparseGroupConfig, param, "sparse_group_", **names)
    one_of("sparse_group_penalty", config.penalty, PROXES)
    at_least("sparse_group_decay", config.decay, 0)
    at_least("beta_growth_interval", config.growth_interval, 0)
    for name in ("sparse_group_beta", "beta_growth", "sparse_group_alpha", "sparse_group_samples"):
        finite(name, getattr(param, name))
        if getattr(param, name) <= 0:
            raise SolverError(f"{name} is {getattr(param, name):g}; wanted more than 0")
    return config if config.decay else None


class SparseGroup(Method):
    """Holds u and beta of every weight with a sparse_group_mult; beta grows for convolutions only, as in their code.

    u starts as the prox of the weights, where the code draws it from [0, 1): that acts in the first step alone.
    """

    title = "sparse group lasso"
    kind = "shrinks"

    def __init__(self, config: SparseGroupConfig, net: Net) -> None:
        self._config = config
        self.terms = list(_terms(config, net))
        self._layers = [net.learnable_params[term.index].layer for term in self.terms]
        self._grows = [net.learnable_params[term.index].tensor.dim() > 2 for term in self.terms]
        self.betas = [config.beta] * len(self.terms)
        self.split: list[Tensor] = [net.learnable_params[term.index].tensor.new_empty(0) for term in self.terms]
        self._shapes = [tuple(net.learnable_params[term.index].tensor.shape) for term in self.terms]

    @property
    def acts_on(self) -> frozenset[int]:
        return frozenset(term.index for term in self.terms)

    def before_pass(self, step: Step) -> None:
        if not self.split[0].numel():
            self._split(step.weights)

    def regularize(self, step: Step, gradients: list[Tensor]) -> None:
        sparse_group(step.weights, gradients, self.terms, self.split, self.betas, self._config.samples)

    def after_update(self, step: Step) -> None:
        self._split(step.weights)
        interval = self._config.growth_interval
        if interval and (step.iteration + 1) % interval == 0:
            growth = self._config.growth
            self.betas = [b * growth if grows else b for b, grows in zip(self.betas, self._grows, strict=True)]

    def penalty(self, weights: list[Tensor]) -> float:
        if not self.split[0].numel():
            self._split(weights)
        return sparse_group_penalty(weights, self.terms, self.split, self.betas, self._config.samples)

    def report(self, weights: list[Tensor]) -> Iterable[str]:
        for layer, term in zip(self._layers, self.terms, strict=True):
            small, count, groups, total = sparse_shares(weights[term.index], term.columns)
            yield f"{layer}: {100 * small / count:.4g}% of the weights and {total - groups} of {total} groups are zero"

    def state_dict(self) -> dict[str, Any]:
        return {"betas": list(self.betas), "split": list(self.split)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        split = [torch.as_tensor(u) for u in state["split"]]
        shapes = [tuple(u.shape) for u in split]
        if shapes != self._shapes and any(u.numel() for u in split):
            raise ValueError(f"it has shapes {shapes}, this net {self._shapes}")
        self.betas = [float(beta) for beta in state["betas"]]
        self.split = [u.to(self.split[0].device) for u in split]

    def _split(self, weights: list[Tensor]) -> None:
        self.split = [
            prox(weights[term.index], self._config.penalty, term.decay / beta, self._config.alpha)
            for term, beta in zip(self.terms, self.betas, strict=True)
        ]


def _terms(config: SparseGroupConfig, net: Net) -> Iterable[GroupTerm]:
    for index, param, spec in acting(net, "sparse_group_mult", "sparse_group_decay"):
        at_least(f"layer '{param.layer}': sparse_group_mult", spec.sparse_group_mult, 0)
        if param.tensor.dim() < 2:
            raise SolverError(
                f"layer '{param.layer}': sparse_group_mult is {spec.sparse_group_mult:g}, but blob {param.users[0][1]} "
                f"has the shape {tuple(param.tensor.shape)}, which has no groups; give it to weights"
            )
        columns = net.layers[param.layer].param.type == "InnerProduct"
        yield GroupTerm(index, columns, config.decay * spec.sparse_group_mult)


ENTRIES = (
    Entry(
        "sparse group lasso",
        "filters and input neurons vanish, and single weights under l0, l1, l1 - l2, SCAD or TL1",
        "kbui1993/Official_Nonconvex_SGL bdbeea1",
        (
            "sparse_group_decay", "sparse_group_penalty", "sparse_group_beta", "sparse_group_alpha",
            "sparse_group_samples", "beta_growth", "beta_growth_interval", "param { sparse_group_mult }",
        ),
        read_sparse_group,
        SparseGroupConfig,
        SparseGroup,
    ),
)  # fmt: skip
