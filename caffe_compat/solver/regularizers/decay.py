"""Weight decay (SGDSolver::Regularize, sgd_solver.cpp): a strength is weight_decay * decay_mult."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from caffe_compat.solver.regularizers.registry import register


@register("L2")
def l2(weights: list[Tensor], gradients: list[Tensor], strengths: Sequence[float]) -> None:
    """gradient += strength * w."""
    chosen = [index for index, strength in enumerate(strengths) if strength != 0]
    _add(gradients, [weights[index] for index in chosen], chosen, strengths)


@register("L1")
def l1(weights: list[Tensor], gradients: list[Tensor], strengths: Sequence[float]) -> None:
    """gradient += strength * sign(w), with sign(0) = 0."""
    chosen = [index for index, strength in enumerate(strengths) if strength != 0]
    signs = list(torch._foreach_sign([weights[index] for index in chosen])) if chosen else []
    _add(gradients, signs, chosen, strengths)


def _add(gradients: list[Tensor], direction: list[Tensor], chosen: Sequence[int], strengths: Sequence[float]) -> None:
    if chosen:
        decay = torch._foreach_mul(direction, [strengths[index] for index in chosen])
        torch._foreach_add_([gradients[index] for index in chosen], decay)
