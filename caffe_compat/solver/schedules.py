"""Caffe's learning rate policies (SGDSolver::GetLearningRate, sgd_solver.cpp).

    fixed      base_lr                                        poly      base_lr (1 - iter / max_iter)^power
    step       base_lr gamma^floor(iter / stepsize)           sigmoid   base_lr / (1 + exp(-gamma (iter - stepsize)))
    exp        base_lr gamma^iter                             multistep base_lr gamma^current_step
    inv        base_lr (1 + gamma iter)^-power

Each takes the solver's settings, the iteration, the current step and `real`, the type Caffe computes in (np.float32;
np.float64 in its double build), and gives the rate and the new current step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from caffe_compat.solver.settings import SolverConfig

Policy = Callable[["SolverConfig", int, int, Any], tuple[Any, int]]


def fixed(config: SolverConfig, iteration: int, current_step: int, real: Any) -> tuple[Any, int]:
    return config.base_lr, current_step


def step(config: SolverConfig, iteration: int, current_step: int, real: Any) -> tuple[Any, int]:
    current_step = iteration // config.stepsize
    return config.base_lr * config.gamma**current_step, current_step


def exp(config: SolverConfig, iteration: int, current_step: int, real: Any) -> tuple[Any, int]:
    return config.base_lr * config.gamma**iteration, current_step


def inv(config: SolverConfig, iteration: int, current_step: int, real: Any) -> tuple[Any, int]:
    growth = real(1) + real(np.float32(config.gamma) * np.float32(iteration))
    return real(config.base_lr) * growth ** real(-config.power), current_step


def multistep(config: SolverConfig, iteration: int, current_step: int, real: Any) -> tuple[Any, int]:
    """At most one step an iteration, so that a stepvalue given twice takes two iterations."""
    if current_step < len(config.stepvalue) and iteration >= config.stepvalue[current_step]:
        current_step += 1
    return config.base_lr * config.gamma**current_step, current_step


def poly(config: SolverConfig, iteration: int, current_step: int, real: Any) -> tuple[Any, int]:
    """NaN past max_iter, as in Caffe."""
    left = real(1) - real(iteration) / real(config.max_iter)
    return real(config.base_lr) * left ** real(config.power), current_step


def sigmoid(config: SolverConfig, iteration: int, current_step: int, real: Any) -> tuple[Any, int]:
    decline = real(_exp(real(-config.gamma) * real(iteration - config.stepsize)))
    return real(config.base_lr) * (real(1) / (real(1) + decline)), current_step


def _exp(exponent: Any) -> float:
    """e^exponent as C's exp gives it (NumPy's differs in the last bit), inf where it overflows."""
    try:
        return math.exp(float(exponent))
    except OverflowError:
        return math.inf


POLICIES: dict[str, Policy] = {
    "fixed": fixed,
    "step": step,
    "exp": exp,
    "inv": inv,
    "multistep": multistep,
    "poly": poly,
    "sigmoid": sigmoid,
}


def learning_rate(config: SolverConfig, iteration: int, current_step: int, real: Any = np.float32) -> tuple[float, int]:
    """The rate of one iteration, rounded to `real` as Caffe holds it, and the current step after it."""
    with np.errstate(all="ignore"):
        rate, current_step = POLICIES[config.lr_policy](config, iteration, current_step, real)
    return float(real(rate)), current_step
