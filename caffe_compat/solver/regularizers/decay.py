"""Weight decay (SGDSolver::Regularize, sgd_solver.cpp): a strength is weight_decay * decay_mult."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from caffe_compat.solver.looped import run_loop
from caffe_compat.solver.multiples import add_multiples
from caffe_compat.solver.regularizers.registry import register


@register("L2")
def l2(weights: list[Tensor], gradients: list[Tensor], strengths: Sequence[float]) -> None:
    """gradient += strength * w."""
    add_multiples(gradients, weights, strengths)


@register("L1")
def l1(weights: list[Tensor], gradients: list[Tensor], strengths: Sequence[float]) -> None:
    """gradient += strength * sign(w), with sign(0) = 0."""
    if any(strengths) and not run_loop("add_signs", (gradients, weights), strengths):
        add_multiples(gradients, torch._foreach_sign(weights), strengths)
