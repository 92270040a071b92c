"""What an update does to the weights, in Caffe's order: clip, normalize, decay, force, step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from torch import Tensor

from caffe_compat.net.params import LearnableParam
from caffe_compat.solver.decaying import Decay
from caffe_compat.solver.early import EarlyUpdates
from caffe_compat.solver.gradients import clip, normalize
from caffe_compat.solver.methods.method import Shaping, Step
from caffe_compat.solver.passes import Passes
from caffe_compat.solver.settings import SolverConfig
from caffe_compat.solver.state import SolverState
from caffe_compat.solver.structure import Structure
from caffe_compat.solver.updates import UPDATES, Rates

logger = logging.getLogger(__name__)


class Updating:
    """The part of a Solver that applies the gradients of an iteration."""

    config: SolverConfig
    state: SolverState
    _passes: Passes
    _params: list[LearnableParam]
    _decay: Decay
    _force: Callable[..., None]
    _force_strengths: list[float]
    _structure: Structure
    _shaping: Shaping
    _all_move: bool
    _early: EarlyUpdates | None = None

    @property
    def iteration(self) -> int:
        """How many updates were done."""
        return self.state.iteration

    def _common_rate(self, told: bool = True) -> float:
        """See Iterations."""
        raise NotImplementedError

    def apply_update(self, rate: float | Tensor | None = None) -> None:
        """SGDSolver::ApplyUpdate (sgd_solver.cpp): clip, then per parameter normalize, decay, force, update.

        rate: what the rates of all parameters have in common, a scalar tensor in a CUDA graph; by default that of now.
        """
        rate = self._common_rate() if rate is None else rate
        moving = self._moving if self._early is None else self._early.left(self._moving)
        if moving or self._early is None:
            self._update(moving, rate)

    def _update(self, moving: Sequence[int], rate: float | Tensor, part: tuple[slice, Tensor] | None = None) -> None:
        """The same for the parameters of these numbers; part: the only rows of the only one of them, their gradient."""
        params, history = [self._params[index] for index in moving], self._history_of(moving)
        weights = [param.tensor.detach() for param in params]
        if part is not None:
            rows, gradient = part
            self._move_part([each[rows] for each in weights], gradient, [each[rows] for each in history], moving, rate)
            return
        gradients = self._passes.take_gradients(moving)
        if gradients is None:
            logger.info("Iteration %d: a gradient overflowed in fp16, no update", self.iteration)
            return
        if self._shaping:
            step = self._step_of(weights)
            self._shaping.after_pass(step, gradients)
        clip(gradients, self.config.clip_gradients)
        normalize(gradients, self.config.iter_size)
        self._decay(weights, gradients, moving)
        if self.has_force:
            self._force(weights, gradients, [self._force_strengths[index] for index in moving])
        self._structure.regularize(weights, gradients)
        if self._shaping:
            self._shaping.regularize(step, gradients)
        if weights:
            self._move(weights, gradients, history, Rates(rate, [param.lr_mult for param in params]))
        self._structure.prune(weights, self.iteration + 1)
        if self._shaping:
            self._shaping.after_update(step)

    def _move_part(
        self,
        weights: list[Tensor],
        gradient: Tensor,
        history: list[Tensor],
        moving: Sequence[int],
        rate: float | Tensor,
    ) -> None:
        """Decay and step of some rows of a parameter that no force acts on."""
        self._decay(weights, [gradient], moving)
        self._move(weights, [gradient], history, Rates(rate, [self._params[index].lr_mult for index in moving]))

    def takes_parts(self, index: int) -> bool:
        """Whether an update treats each value of parameter `index` by itself."""
        return not self._force_strengths[index] and self._decay.is_even(index)

    def _step_of(self, weights: list[Tensor]) -> Step:
        return Step(self.iteration, weights, self.state.history)

    def _choose_moving(self) -> None:
        """Which parameters updates can change: all but those without gradient, decay, force and history."""
        count = len(self._params)
        adaptive = self.config.type not in ("SGD", "Nesterov")  # whose history grows where lr_mult is 0 too
        divides = adaptive and self.config.delta == 0  # 0 by 0, for those too
        strengths = zip(self._decay.strengths, self._force_strengths, strict=True)
        moving = [
            divides or self._all_move or param.tensor.requires_grad or (any(pair) and (adaptive or param.lr_mult != 0))
            for param, pair in zip(self._params, strengths, strict=True)
        ]
        for index, blob in enumerate(self.state.history):
            moving[index % count] = moving[index % count] or bool(blob.any())
        self._moving = [index for index in range(count) if moving[index]]

    @property
    def moving_values(self) -> int:
        """How many values an update treats in all."""
        return sum(self._params[index].tensor.numel() for index in self._moving)

    def _history_of(self, moving: Sequence[int]) -> list[Tensor]:
        """The history of the parameters of these numbers, in as many rounds as the solver's type keeps."""
        count, history = len(self._params), self.state.history
        return [history[first + index] for first in range(0, len(history), count or 1) for index in moving]

    @property
    def counts_every(self) -> bool:
        """Whether an update looks at all parameters at once."""
        return self._all_move

    def _move(self, weights: list[Tensor], gradients: list[Tensor], history: list[Tensor], rates: Rates) -> None:
        """Take the step of the solver's type off the weights; it changes the history."""
        UPDATES[self.config.type].apply(weights, gradients, history, rates, self.config)

    @property
    def has_force(self) -> bool:
        """Whether the next update applies the force: there is one, and force_iter is not reached."""
        end = self.config.force.last_iteration
        return any(self._force_strengths) and (end == -1 or self.iteration < end)

    @property
    def forced_params(self) -> list[LearnableParam]:
        """The parameters that the force pulls together, or pushes apart, while it lasts; in Caffe's order."""
        return [param for param, strength in zip(self._params, self._force_strengths, strict=True) if strength]
