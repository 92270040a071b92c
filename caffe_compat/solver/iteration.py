"""What a Solver does within one iteration: pass, update, and what is said of it."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caffe_compat.errors import SolverError
from caffe_compat.layers.source import SourceLayer
from caffe_compat.net.net import Net
from caffe_compat.solver.continuation import generators, sources
from caffe_compat.solver.decaying import Decay
from caffe_compat.solver.graphed import GraphedIteration, NotRecorded
from caffe_compat.solver.log import number
from caffe_compat.solver.method_state import MethodStates
from caffe_compat.solver.methods import build_methods
from caffe_compat.solver.methods.method import Shaping
from caffe_compat.solver.nets import output_weights
from caffe_compat.solver.regularizers.registry import regularizer
from caffe_compat.solver.schedules import learning_rate
from caffe_compat.solver.smoothing import Losses, SmoothedLoss
from caffe_compat.solver.state import SolverState, new_state
from caffe_compat.solver.structure import Structure
from caffe_compat.solver.testing import log_outputs
from caffe_compat.solver.updates import UPDATES
from caffe_compat.solver.updating import Updating

logger = logging.getLogger(__name__)


class Iterations(Updating):
    """The part of a Solver that runs one iteration on `net`, as `config` says; it changes `state` and the weights."""

    net: Net
    test_nets: list[Net]
    _graphed: GraphedIteration | None = None
    _tests_whole = False  # whether a test is not to be interrupted, since a method goes by it
    _reads_each_loss = False  # though it may be on a GPU

    def snapshot(self, name: str | None = None) -> Path:
        """See Solver."""
        raise NotImplementedError

    def _begin(self) -> None:
        """What a Solver has from its first moment on, whatever it trains."""
        self.callbacks: list[Any] = []
        self._requests = self._asked = set[str]()  # what holds, and what was asked of this process
        self._methods = MethodStates()
        self._unknown: dict[str, Any] = {}  # sections of the side-car that a later version wrote
        self.is_writing = False  # a snapshot, at this moment
        self.is_stopped = False  # whether the last `solve` was asked to end early, and did
        self._random: list[dict[str, bytes]] = []  # of all ranks, while a snapshot is being written
        self._random_before: dict[str, bytes] = {}  # at the start of this iteration
        self._test_places: list[tuple[Any, int]] = []  # of the data of test nets, likewise
        self._goes_back = False  # to the start of this iteration

    def _prepare(self, force_multipliers: Sequence[float], groups: Sequence[int] | None) -> None:
        config, force = self.config, self.config.force
        self._params = self.net.learnable_params
        self.state: SolverState = new_state(self._params, config.type)
        self.applied_rate = math.nan  # the rate of the last iteration
        self._explains = False  # the layers of the last iteration, as debug_info asks
        self._losses = Losses(config.average_loss)
        self._outputs: dict[str, Tensor] = {}
        self._carried: SmoothedLoss | None = None  # of a restored run
        self._decay = Decay(self.net, config.regularization_type, config.weight_decay)
        settings = {"force_type": force.force_type, "direction": force.direction, "decay_type": force.decay_type}
        self._force = partial(regularizer("force"), **settings, groups=groups, scaler=force.scaler)
        self._structure = Structure(config.structure, self.net)
        self._shaping: Shaping = build_methods(
            config.methods, self.net, self._claims(force_multipliers), config.structure.prune_threshold, config.growth
        )
        for method in self._shaping.stateful:
            self._methods.put(method.title, method)
        self._force_strengths = [force.decay * multiplier for multiplier in force_multipliers]
        self._shaping.check_tests(self.test_nets)
        self._all_move = groups is not None or self._structure.active or bool(self._shaping)  # they count every one
        self._choose_moving()
        self._output_weights = output_weights(self.net)

    @property
    def learning_rate(self) -> float:
        """The rate that the next update will use."""
        return self._shaping.rate(learning_rate(self.config, self.iteration, self.state.current_step, self._real)[0])

    @property
    def smoothed_loss(self) -> float:
        """The loss as displayed: averaged over the last average_loss iterations."""
        return self._read_losses().smoothed.value

    @property
    def loss(self) -> float:
        """The loss of the last iteration."""
        return self._read_losses().last

    @property
    def penalties(self) -> dict[str, float]:
        """What decay, group lasso and each method around the paper add to the loss for the weights of now, by name."""
        weights = self._weights()
        own = {"weight_decay": self._decay.penalty(weights), "group_lasso": self._structure.penalty(weights)}
        return {name: value for name, value in own.items() if value} | self._shaping.penalties(weights)

    def _weights(self) -> list[Tensor]:
        return [param.tensor.detach() for param in self._params]

    def _claims(self, force_multipliers: Sequence[float]) -> list[tuple[str, str, frozenset[int]]]:
        """(title, kind, numbers of the parameters it acts on) of the force and of the penalties on ranks."""
        decay = self.config.force.decay
        forced = frozenset(index for index, multiplier in enumerate(force_multipliers) if multiplier * decay > 0)
        pushed = frozenset(index for index, multiplier in enumerate(force_multipliers) if multiplier * decay < 0)
        return [
            ("the force (force_mult)", "attracts", forced),
            ("the force (force_mult)", "spreads", pushed),
            *self._structure.claims,
        ]

    def _iterate(self) -> None:
        """One iteration: forward and backward over iter_size batches, display, update."""
        self._explains = self.config.debug_info and self._is_due(self.config.display)
        if self._shaping:
            self._shaping.before_pass(self._step_of(self._weights()))
            self._passes.iter_size = self.config.iter_size * self._shaping.passes
        with nullcontext() if self._early is None else self._early.iteration():
            self._learn_from(*self._passes.run(self._explains))
            self.apply_update()

    def _replay(self, graphed: GraphedIteration) -> None:
        """The same as one CUDA graph, in which the update precedes the display."""
        rate = self._common_rate(told=False)
        try:
            self._learn_from(*graphed.run(rate, self.has_force))
        except NotRecorded as error:
            logger.info("CUDA graph: %s; training goes on without", error)
            self._graphed = None
            self._learn_from(*self._passes.run(values=graphed.values))
            self.apply_update(rate)
        self._tell_rate()

    def _learn_from(self, outputs: dict[str, Tensor], loss: Tensor) -> None:
        """Take note of the loss, display it where it is due; SolverError where it is no number."""
        self._outputs = outputs
        if self._losses.add(loss) or self._reads_each_loss or self._is_due(self.config.display):
            self._read_losses()
        if self._is_due(self.config.display):
            self._display(outputs)

    def _read_losses(self) -> Losses:
        ago = self._losses.read(self._combined)
        if ago is not None:
            self._display(self._outputs)
            raise SolverError(self._diverged(self.iteration - ago))
        return self._losses

    def _diverged(self, iteration: int) -> str:
        """What to say of a loss that is no number, after keeping the weights it came from if they still are numbers."""
        message = f"iteration {iteration}: the loss is {number(self._losses.last)}; lower base_lr, or look at the data"
        if all(bool(param.tensor.isfinite().all()) for param in self._params):
            self._unread()
            return f"{message}; the weights before it are in {self.snapshot()}, from where its batch comes again"
        return f"{message}; the weights are no longer finite, go back to an earlier snapshot"

    def _unread(self) -> None:
        """Let the batches and the random numbers of this iteration come again: they were not learnt from."""
        self._untest()
        for _, layer in self.net.steps:
            if isinstance(layer, SourceLayer) and not layer.fed:
                layer.seek(max(0, layer.cursor - self._passes.iter_size))

    def _untest(self) -> None:
        """Let the batches and random numbers of this iteration's test come again: a run that goes on does it anew."""
        self._goes_back = True
        for layer, cursor in self._test_places:
            layer.seek(cursor)

    def _mark(self) -> None:
        """Remember where this iteration starts, its test included: the place to go back to where it fails."""
        self._goes_back = False
        self._random_before = {} if self._graphed else generators()
        tests = self.test_nets if self._is_due(self.config.test_interval) else []
        self._test_places = [(layer, layer.cursor) for net in tests for layer in sources(net).values()]

    def _generators(self) -> dict[str, bytes]:
        """The random numbers that a snapshot of now goes on with."""
        return self._random_before if self._goes_back and self._random_before else generators()

    def _combined(self, loss: float) -> float:
        """The mean loss of all processes that train together, their gradients averaged too; here there is one."""
        return loss

    def _common_rate(self, told: bool = True) -> float:
        """What all rates of this iteration have as a factor; goes to the next step of the policy where it is due."""
        before = self.state.current_step
        policy, self.state.current_step = learning_rate(self.config, self.iteration, before, self._real)
        self.applied_rate = self._shaping.rate(policy)
        if self.config.lr_policy == "multistep" and self.state.current_step != before:
            logger.info("MultiStep Status: Iteration %d, step = %d", self.iteration, self.state.current_step)
        if told:
            self._tell_rate()
        return self._rate_of_now(self.applied_rate)

    def _rate_of_now(self, rate: float | None = None) -> float:
        """`rate`, by default that of the policy, as the solver's type takes it in this iteration; nothing changes."""
        if rate is None:
            rate = self.learning_rate
        return rate * UPDATES[self.config.type].correction(self.config, self.iteration, self._real)

    def _tell_rate(self) -> None:
        if self._is_due(self.config.display):
            logger.info("Iteration %d, lr = %s", self.iteration, number(self.applied_rate))

    @property
    def _real(self) -> Any:
        """The type Caffe would compute in: float32, or float64 for a net made .double()."""
        return np.float64 if self._params and self._params[0].tensor.dtype == torch.float64 else np.float32

    def _display(self, outputs: dict[str, Tensor]) -> None:
        logger.info("Iteration %d, loss = %s", self.iteration, number(self.smoothed_loss))
        log_outputs("Train", outputs, self._output_weights)
        if self._shaping:
            for line in self._shaping.report(self._weights()):
                logger.info("    %s", line)

    def _is_due(self, interval: int) -> bool:
        return interval > 0 and self.iteration % interval == 0
