"""Solver: trains a net as `caffe train` does, with Caffe's numbers, log and files."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caffe_compat.errors import SolverError
from caffe_compat.net.memory import keep_freed_memory
from caffe_compat.net.net import Net
from caffe_compat.net.params import LearnableParam
from caffe_compat.proto.model import Model, read_solver
from caffe_compat.proto.upgrade import upgrade_solver
from caffe_compat.solver import snapshots
from caffe_compat.solver.compiling import compile_net
from caffe_compat.solver.config import SolverConfig, read_config
from caffe_compat.solver.debug import forward_explained
from caffe_compat.solver.device import choose_device
from caffe_compat.solver.forcing import choose_force, force_groups, force_multipliers
from caffe_compat.solver.gradients import clip, normalize
from caffe_compat.solver.log import number
from caffe_compat.solver.nets import output_weights, test_nets, training_net
from caffe_compat.solver.passes import Passes
from caffe_compat.solver.regularizers.registry import regularizer
from caffe_compat.solver.schedules import learning_rate
from caffe_compat.solver.smoothing import SmoothedLoss
from caffe_compat.solver.state import SolverState, new_state
from caffe_compat.solver.structure import Structure
from caffe_compat.solver.testing import log_outputs, run_test
from caffe_compat.solver.updates import UPDATES, Rates

logger = logging.getLogger(__name__)

HOOKS = ("before_step", "after_step", "after_test", "after_snapshot")


class Solver:
    """Caffe's solver for a solver.prototxt or a SolverParameter.

    weights: files to start from, a comma list or a sequence; instead of those that the solver names. device: "cpu",
    "cuda", "cuda:1", or "auto" (what solver_mode asks for, if it is here). force: l1, l2, linear, gravity or none;
    force_decay, force_layers: see `forcing`; force_per_group: filters attract only those of their own group, as they do
    not in the fork. max_iter: instead of the solver's. level, stages: of the training net.
    compat: "bvlc" or "wen2017", see Net. precision: "fp32" as Caffe, "bf16" or "fp16", see `precision`. compile: let
    torch.compile make the training net's program, where it can.

    callbacks: objects with any of before_step(solver), after_step(solver), after_test(solver, results) and
    after_snapshot(solver, path). Raises SolverError for what is wrong in the solver, before anything runs.
    """

    def __init__(
        self,
        solver: Any,
        weights: Any = None,
        device: str = "cpu",
        force: str | None = None,
        force_decay: float | None = None,
        force_layers: Sequence[str] | str | None = None,
        force_per_group: bool = False,
        compat: str = "bvlc",
        max_iter: int | None = None,
        level: int = 0,
        stages: Sequence[str] = (),
        precision: str = "fp32",
        compile: bool = False,
    ) -> None:
        self.path = Path(solver) if isinstance(solver, (str, os.PathLike)) else None
        self.param = read_solver(self.path) if self.path else upgrade_solver(solver)
        choose_force(self.param, force, force_decay)
        if max_iter is not None:
            self.param.max_iter = max_iter
        self.config: SolverConfig = read_config(self.param, str(self.path or "the solver"))
        if self.config.snapshot:
            snapshots.check_writable(self.config)
        self.device = choose_device(self.param, device)
        if self.device.type == "cpu":
            keep_freed_memory()
        if self.config.random_seed >= 0:
            torch.manual_seed(self.config.random_seed)
        self.net = training_net(self.param, self.path, compat, level, stages).to(self.device)
        self.test_nets = [net.to(self.device) for net in test_nets(self.param, self.path, compat)]
        for net in self.test_nets:
            net.share_weights_with(self.net)
        snapshots.load_weights(self.net, weights if weights is not None else self.param.weights)
        multipliers = force_multipliers(
            self.net, force not in (None, "none"), force_layers, self.config.force.decay, compat
        )
        self._prepare(multipliers, force_groups(self.net) if force_per_group else None)
        self._passes = Passes(self.net, self._params, self.config.iter_size, precision)
        if compile:
            compile_net(self.net)

    def _prepare(self, force_multipliers: Sequence[float], groups: Sequence[int] | None) -> None:
        config, force = self.config, self.config.force
        self._params = self.net.learnable_params
        self.state: SolverState = new_state(self._params, config.type)
        self.callbacks: list[Any] = []
        self.loss = self.applied_rate = math.nan  # of the last iteration
        self._explains = False  # the layers of the last iteration, as debug_info asks
        self._smoothed = SmoothedLoss(config.average_loss)
        self._carried: SmoothedLoss | None = None  # of a restored run
        self._requests = self._asked = set[str]()  # what holds, and what was asked of this process
        self._decay = regularizer(config.regularization_type)
        settings = {"force_type": force.force_type, "direction": force.direction, "decay_type": force.decay_type}
        self._force = partial(regularizer("force"), **settings, groups=groups, scaler=force.scaler)
        self._structure = Structure(config.structure, self.net)
        self._rate_multipliers = [param.lr_mult for param in self._params]
        self._decay_strengths = [config.weight_decay * param.decay_mult for param in self._params]
        self._force_strengths = [force.decay * multiplier for multiplier in force_multipliers]
        self._output_weights = output_weights(self.net)

    @property
    def iteration(self) -> int:
        """How many updates were done."""
        return self.state.iteration

    @property
    def learning_rate(self) -> float:
        """The rate that the next update will use."""
        return learning_rate(self.config, self.iteration, self.state.current_step, self._real)[0]

    @property
    def smoothed_loss(self) -> float:
        """The loss as displayed: averaged over the last average_loss iterations."""
        return self._smoothed.value

    def step(self, iterations: int) -> None:
        """Do `iterations` iterations: test where it is due, forward and backward, update, snapshot where it is due."""
        self._smoothed, self._carried = self._carried or SmoothedLoss(self.config.average_loss), None
        last = self.iteration + iterations
        while self.iteration < last and "stop" not in self._requests:
            if self._is_due(self.config.test_interval) and (self.iteration > 0 or self.config.test_initialization):
                self.test()
                if "stop" in self._requests:
                    break
            self._call("before_step")
            outputs = self._forward_backward()
            if self._is_due(self.config.display):
                self._display(outputs)
            self.apply_update()
            self.state.iteration += 1
            self._call("after_step")
            if self._is_due(self.config.snapshot) or "snapshot" in self._requests:
                self._requests.discard("snapshot")
                self.snapshot()

    def apply_update(self) -> None:
        """SGDSolver::ApplyUpdate (sgd_solver.cpp): clip, then per parameter normalize, decay, force, update."""
        rate = self._advance_rate()
        weights = [param.tensor.detach() for param in self._params]
        gradients = self._passes.take_gradients()
        if gradients is None:
            logger.info("Iteration %d: a gradient overflowed in fp16, no update", self.iteration)
            return
        clip(gradients, self.config.clip_gradients)
        normalize(gradients, self.config.iter_size)
        self._decay(weights, gradients, self._decay_strengths)
        if self.has_force:
            self._force(weights, gradients, self._force_strengths)
        self._structure.regularize(weights, gradients)
        update = UPDATES[self.config.type]
        rates = Rates(rate * update.correction(self.config, self.iteration, self._real), self._rate_multipliers)
        update.apply(weights, gradients, self.state.history, rates, self.config)
        self._structure.prune(weights, self.iteration + 1)

    @property
    def has_force(self) -> bool:
        """Whether the next update applies the force: there is one, and force_iter is not reached."""
        end = self.config.force.last_iteration
        return any(self._force_strengths) and (end == -1 or self.iteration < end)

    @property
    def forced_params(self) -> list[LearnableParam]:
        """The parameters that the force pulls together, or pushes apart, while it lasts; in Caffe's order."""
        return [param for param, strength in zip(self._params, self._force_strengths, strict=True) if strength]

    def solve(self, resume: str | os.PathLike[str] | None = None) -> None:
        """Train to max_iter as `caffe train`, from the snapshot `resume` if given; then snapshot, display, test."""
        config = self.config
        if config.snapshot_after_train:
            snapshots.check_writable(config)
        logger.info("Solving %s", self.net.graph.name)
        logger.info("Learning Rate Policy: %s", config.lr_policy)
        if resume is not None:
            self.restore(resume)
        with self._reserved():
            self._train()

    def _train(self) -> None:
        config = self.config
        self.step(config.max_iter - self.iteration)
        if config.snapshot_after_train and (not config.snapshot or self.iteration % config.snapshot):
            self.snapshot()
        if "stop" in self._requests:
            self._requests.discard("stop")
            logger.info("Optimization stopped early.")
            return
        if self._is_due(config.display):
            with torch.no_grad(), forward_explained(self.net) if self._explains else nullcontext():
                self._smoothed.add(float(self.net.forward_with_loss()[1]))
            logger.info("Iteration %d, loss = %s", self.iteration, number(self.smoothed_loss))
        if self._is_due(config.test_interval):
            self.test()
        logger.info("Optimization Done.")

    def request(self, action: str) -> None:
        """Ask a running step for "snapshot" or "stop" after its iteration; for signal handlers and callbacks."""
        if action not in ("snapshot", "stop"):
            raise SolverError(f"action is '{action}'; allowed: snapshot, stop")
        self._asked.add(action)

    def test(self) -> list[dict[str, Any]]:
        """The mean of every output of every test net over its test_iter batches, by name; floats, or arrays."""
        results = [
            run_test(net, index, self.config, self.iteration, lambda: "stop" in self._asked)
            for index, net in enumerate(self.test_nets)
        ]
        self._call("after_test", results)
        return results

    def snapshot(self, name: str | None = None) -> Path:
        """Write weights and state of now as PREFIX_name ("iter_N" by default); the solverstate, for `restore`."""
        name = name or f"iter_{self.iteration}"
        path = snapshots.write_snapshot(self.config, self._nets(), self.state, self._smoothed, name)
        self._call("after_snapshot", path)
        return path

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Go on from a .solverstate or .solverstate.h5 of ours or of Caffe's, and the weights it names.

        With our own side-car beside it, data and random numbers go on too: an interrupted run equals a straight one.
        """
        logger.info("Resuming from %s", path)
        self._carried = snapshots.read_snapshot(path, self.config, self._nets(), self.state)

    def model(self) -> Model:
        """The net as it was given, for all phases, with the weights of now."""
        return Model(self.net.param, self.net.weights())

    def _forward_backward(self) -> dict[str, Tensor]:
        """Sum the gradients of iter_size batches; the outputs of the last one. Sets `loss` to the mean loss."""
        self._explains = self.config.debug_info and self._is_due(self.config.display)
        outputs, loss = self._passes.run(self._explains)
        self.loss = self._combined(loss)
        self._smoothed.add(self.loss)
        if not math.isfinite(self.loss):
            self._display(outputs)
            raise SolverError(self._diverged())
        return outputs

    def _diverged(self) -> str:
        """What to say of a loss that is no number, after keeping the weights it came from if they still are numbers."""
        message = f"iteration {self.iteration}: the loss is {number(self.loss)}; lower base_lr, or look at the data"
        if all(bool(param.tensor.isfinite().all()) for param in self._params):
            return f"{message}; the weights before it are in {self.snapshot()}"
        return f"{message}; the weights are no longer finite, go back to an earlier snapshot"

    def _combined(self, loss: float) -> float:
        """The mean loss of all processes that train together, their gradients averaged too; here there is one."""
        return loss

    def _reserved(self) -> AbstractContextManager[None]:
        return snapshots.prefix_reserved(self.config)

    def _advance_rate(self) -> float:
        before = self.state.current_step
        rate, self.state.current_step = learning_rate(self.config, self.iteration, before, self._real)
        if self.config.lr_policy == "multistep" and self.state.current_step != before:
            logger.info("MultiStep Status: Iteration %d, step = %d", self.iteration, self.state.current_step)
        if self._is_due(self.config.display):
            logger.info("Iteration %d, lr = %s", self.iteration, number(rate))
        self.applied_rate = rate
        return rate

    @property
    def _real(self) -> Any:
        """The type Caffe would compute in: float32, or float64 for a net made .double()."""
        return np.float64 if self._params and self._params[0].tensor.dtype == torch.float64 else np.float32

    def _display(self, outputs: dict[str, Tensor]) -> None:
        logger.info("Iteration %d, loss = %s", self.iteration, number(self.smoothed_loss))
        log_outputs("Train", outputs, self._output_weights)

    def _nets(self) -> dict[str, Net]:
        return {"train": self.net, **{f"test {index}": net for index, net in enumerate(self.test_nets)}}

    def _is_due(self, interval: int) -> bool:
        return interval > 0 and self.iteration % interval == 0

    def _call(self, hook: str, *facts: Any) -> None:
        for callback in self.callbacks:
            if (method := getattr(callback, hook, None)) is not None:
                method(self, *facts)
