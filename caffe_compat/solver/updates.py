"""Caffe's six solvers: from gradient and history to the step that is taken off each weight (src/caffe/solvers).

Symbols: g gradient, w weight, h and h2 the histories, r = lr * lr_mult, t = iteration + 1. All in place, for all
parameters at once: by a compiled loop where one takes their values, see `looped`, else as torch does it. The learning
rate goes into SGD's history, unlike torch.optim.SGD's: the two part at every change of the rate. Adam adds delta to
sqrt(v) before the bias correction, where torch.optim.Adam adds it after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from caffe_compat.solver.looped import run_loop
from caffe_compat.solver.multiples import add_multiples

if TYPE_CHECKING:
    from caffe_compat.solver.settings import SolverConfig

Tensors = list[Tensor]


@dataclass(frozen=True)
class Rates:
    """r of every parameter: lr, times what else is the same for all of them, times its own lr_mult.

    lr: a number, or a 0-dimensional tensor on the device of the weights, which a CUDA graph reads anew each time.
    """

    lr: float | Tensor
    multipliers: Sequence[float]

    def add(self, targets: Tensors, tensors: Tensors, sign: int = 1) -> None:
        """targets += sign * r * tensors, in place."""
        if isinstance(self.lr, Tensor):
            tensors = list(torch._foreach_mul(tensors, self.lr))
            add_multiples(targets, tensors, [sign * multiplier for multiplier in self.multipliers])
        else:
            add_multiples(targets, tensors, [sign * self.lr * multiplier for multiplier in self.multipliers])

    def run_loop(self, name: str, lists: Sequence[Tensors], *constants: float) -> bool:
        """Run a loop of kernels/updates.py with these rates; False, and nothing, where torch is to do it."""
        lr = self.lr
        return not isinstance(lr, Tensor) and run_loop(name, lists, [lr * each for each in self.multipliers], constants)


def sgd(weights: Tensors, gradients: Tensors, history: Tensors, rates: Rates, config: SolverConfig) -> None:
    """h = momentum h + r g;  w -= h."""
    _fall(weights, gradients, history, rates, config.momentum)


def momentum_step(weights: Tensors, gradients: Tensors, history: Tensors, rate: float, momentum: float) -> None:
    """SGD's step alone, in place: h = momentum h + rate g;  w -= h. Three lists of tensors of the same shapes."""
    _fall(weights, gradients, history, Rates(rate, [1.0] * len(weights)), momentum)


def _fall(weights: Tensors, gradients: Tensors, history: Tensors, rates: Rates, momentum: float) -> None:
    if rates.run_loop("sgd", (weights, gradients, history), momentum):
        return
    torch._foreach_mul_(history, momentum)
    rates.add(history, gradients)
    torch._foreach_sub_(weights, history)


def nesterov(weights: Tensors, gradients: Tensors, history: Tensors, rates: Rates, config: SolverConfig) -> None:
    """h' = momentum h + r g;  w -= (1 + momentum) h' - momentum h."""
    if rates.run_loop("nesterov", (weights, gradients, history), config.momentum, 1 + config.momentum):
        return
    torch._foreach_add_(weights, history, alpha=config.momentum)
    torch._foreach_mul_(history, config.momentum)
    rates.add(history, gradients)
    torch._foreach_sub_(weights, history, alpha=1 + config.momentum)


def adagrad(weights: Tensors, gradients: Tensors, history: Tensors, rates: Rates, config: SolverConfig) -> None:
    """h += g^2;  w -= r g / (sqrt(h) + delta)."""
    if rates.run_loop("adagrad", (weights, gradients, history), config.delta):
        return
    torch._foreach_addcmul_(history, gradients, gradients)
    _take(weights, gradients, history, rates, config.delta)


def rmsprop(weights: Tensors, gradients: Tensors, history: Tensors, rates: Rates, config: SolverConfig) -> None:
    """h = rms_decay h + (1 - rms_decay) g^2;  w -= r g / (sqrt(h) + delta)."""
    rest = 1 - config.rms_decay
    if rates.run_loop("rmsprop", (weights, gradients, history), config.rms_decay, rest, config.delta):
        return
    torch._foreach_mul_(history, config.rms_decay)
    torch._foreach_addcmul_(history, gradients, gradients, value=rest)
    _take(weights, gradients, history, rates, config.delta)


def adadelta(weights: Tensors, gradients: Tensors, history: Tensors, rates: Rates, config: SolverConfig) -> None:
    """h = rho h + (1 - rho) g^2;  u = g sqrt((h2 + delta) / (h + delta));  h2 = rho h2 + (1 - rho) u^2;  w -= r u.

    rho is the solver's momentum.
    """
    squares, steps = history[: len(weights)], history[len(weights) :]
    rho, rest = config.momentum, 1 - config.momentum
    if rates.run_loop("adadelta", (weights, gradients, squares, steps), rho, rest, config.delta):
        return
    torch._foreach_mul_(squares, rho)
    torch._foreach_addcmul_(squares, gradients, gradients, value=rest)
    change = list(torch._foreach_add(steps, config.delta))
    torch._foreach_div_(change, torch._foreach_add(squares, config.delta))
    torch._foreach_sqrt_(change)
    torch._foreach_mul_(change, gradients)
    torch._foreach_mul_(steps, rho)
    torch._foreach_addcmul_(steps, change, change, value=rest)
    rates.add(weights, change, sign=-1)


def adam(weights: Tensors, gradients: Tensors, history: Tensors, rates: Rates, config: SolverConfig) -> None:
    """m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w -= r m / (sqrt(v) + delta), r with `adam_correction`.

    b1 is the solver's momentum, b2 its momentum2.
    """
    means, squares = history[: len(weights)], history[len(weights) :]
    b1, b2 = config.momentum, config.momentum2
    if rates.run_loop("adam", (weights, gradients, means, squares), b1, 1 - b1, b2, 1 - b2, config.delta):
        return
    torch._foreach_mul_(means, b1)
    torch._foreach_add_(means, gradients, alpha=1 - b1)
    torch._foreach_mul_(squares, b2)
    torch._foreach_addcmul_(squares, gradients, gradients, value=1 - b2)
    _take(weights, means, squares, rates, config.delta)


def adam_correction(config: SolverConfig, iteration: int, real: Any) -> float:
    """sqrt(1 - b2^t) / (1 - b1^t), which Adam's rates have as a factor; `real` as in schedules."""
    one = real(1)
    return float(
        np.sqrt(one - real(real(config.momentum2) ** (iteration + 1)))
        / (one - real(real(config.momentum) ** (iteration + 1)))
    )


def _take(weights: Tensors, numerators: Tensors, squares: Tensors, rates: Rates, delta: float) -> None:
    """w -= rate numerator / (sqrt(square) + delta)."""
    roots = list(torch._foreach_sqrt(squares))
    torch._foreach_add_(roots, delta)
    rates.add(weights, list(torch._foreach_div(numerators, roots)), sign=-1)


@dataclass(frozen=True)
class Update:
    """One solver type: its step, how many history blobs it keeps for each parameter, and what the rates change by."""

    apply: Callable[[Tensors, Tensors, Tensors, Rates, SolverConfig], None]
    histories: int = 1
    correction: Callable[[SolverConfig, int, Any], float] = lambda config, iteration, real: 1.0


UPDATES: dict[str, Update] = {
    "SGD": Update(sgd),
    "Nesterov": Update(nesterov),
    "AdaGrad": Update(adagrad),
    "RMSProp": Update(rmsprop),
    "AdaDelta": Update(adadelta, histories=2),
    "Adam": Update(adam, histories=2, correction=adam_correction),
}
