"""Caffe's six solvers: from gradient and history to the step that is taken off each weight (src/caffe/solvers).

Symbols: g gradient, w weight, h and h2 the histories, r = lr * lr_mult, t = iteration + 1. All in place, for all
parameters at once. The learning rate goes into SGD's history, unlike torch.optim.SGD's: the two part at every change of
the rate. Adam adds delta to sqrt(v) before the bias correction, where torch.optim.Adam adds it after.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from caffe_compat.solver.config import SolverConfig

Tensors = list[Tensor]
Rates = list[float]


def sgd(
    weights: Tensors, gradients: Tensors, history: Tensors, rates: Rates, config: SolverConfig, iteration: int
) -> None:
    """h = momentum h + r g;  w -= h."""
    torch._foreach_mul_(history, config.momentum)
    torch._foreach_add_(history, torch._foreach_mul(gradients, rates))
    torch._foreach_sub_(weights, history)


def nesterov(
    weights: Tensors, gradients: Tensors, history: Tensors, rates: Rates, config: SolverConfig, iteration: int
) -> None:
    """h' = momentum h + r g;  w -= (1 + momentum) h' - momentum h."""
    torch._foreach_add_(weights, torch._foreach_mul(history, config.momentum))
    torch._foreach_mul_(history, config.momentum)
    torch._foreach_add_(history, torch._foreach_mul(gradients, rates))
    torch._foreach_sub_(weights, torch._foreach_mul(history, 1 + config.momentum))


def adagrad(
    weights: Tensors, gradients: Tensors, history: Tensors, rates: Rates, config: SolverConfig, iteration: int
) -> None:
    """h += g^2;  w -= r g / (sqrt(h) + delta)."""
    torch._foreach_addcmul_(history, gradients, gradients)
    _take(weights, gradients, history, rates, config.delta)


def rmsprop(
    weights: Tensors, gradients: Tensors, history: Tensors, rates: Rates, config: SolverConfig, iteration: int
) -> None:
    """h = rms_decay h + (1 - rms_decay) g^2;  w -= r g / (sqrt(h) + delta)."""
    torch._foreach_mul_(history, config.rms_decay)
    torch._foreach_addcmul_(history, gradients, gradients, value=1 - config.rms_decay)
    _take(weights, gradients, history, rates, config.delta)


def adadelta(
    weights: Tensors, gradients: Tensors, history: Tensors, rates: Rates, config: SolverConfig, iteration: int
) -> None:
    """h = rho h + (1 - rho) g^2;  u = g sqrt((h2 + delta) / (h + delta));  h2 = rho h2 + (1 - rho) u^2;  w -= r u.

    rho is the solver's momentum.
    """
    squares, steps = history[: len(weights)], history[len(weights) :]
    torch._foreach_mul_(squares, config.momentum)
    torch._foreach_addcmul_(squares, gradients, gradients, value=1 - config.momentum)
    change = torch._foreach_div(torch._foreach_add(steps, config.delta), torch._foreach_add(squares, config.delta))
    torch._foreach_sqrt_(change)
    torch._foreach_mul_(change, gradients)
    torch._foreach_mul_(steps, config.momentum)
    torch._foreach_addcmul_(steps, change, change, value=1 - config.momentum)
    torch._foreach_mul_(change, rates)
    torch._foreach_sub_(weights, change)


def adam(
    weights: Tensors, gradients: Tensors, history: Tensors, rates: Rates, config: SolverConfig, iteration: int
) -> None:
    """m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w -= r sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + delta).

    b1 is the solver's momentum, b2 its momentum2.
    """
    means, squares = history[: len(weights)], history[len(weights) :]
    torch._foreach_mul_(means, config.momentum)
    torch._foreach_add_(means, gradients, alpha=1 - config.momentum)
    torch._foreach_mul_(squares, config.momentum2)
    torch._foreach_addcmul_(squares, gradients, gradients, value=1 - config.momentum2)
    real = np.float32 if weights and weights[0].dtype == torch.float32 else np.float64
    correction = float(
        np.sqrt(real(1) - real(real(config.momentum2) ** (iteration + 1)))
        / (real(1) - real(real(config.momentum) ** (iteration + 1)))
    )
    _take(weights, means, squares, [rate * correction for rate in rates], config.delta)


def _take(weights: Tensors, numerators: Tensors, squares: Tensors, rates: Rates, delta: float) -> None:
    """w -= rate numerator / (sqrt(square) + delta)."""
    roots = torch._foreach_sqrt(squares)
    torch._foreach_add_(roots, delta)
    steps = torch._foreach_div(numerators, roots)
    torch._foreach_mul_(steps, rates)
    torch._foreach_sub_(weights, steps)


@dataclass(frozen=True)
class Update:
    """One solver type: its step, and how many history blobs it keeps for each parameter."""

    apply: Callable[[Tensors, Tensors, Tensors, Rates, SolverConfig, int], None]
    histories: int = 1


UPDATES: dict[str, Update] = {
    "SGD": Update(sgd),
    "Nesterov": Update(nesterov),
    "AdaGrad": Update(adagrad),
    "RMSProp": Update(rmsprop),
    "AdaDelta": Update(adadelta, histories=2),
    "Adam": Update(adam, histories=2),
}
