"""cc.Solver on a net that is run layer by layer: what all solver objects of pycaffe stand on (solver.cpp)."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import CaffeCompatError, SolverError
from caffe_compat.pycaffe import loading
from caffe_compat.pycaffe.bindings import CheckError, check
from caffe_compat.pycaffe.checks import in_caffes_words
from caffe_compat.pycaffe.execution import Execution
from caffe_compat.pycaffe.mode import set_random_seed, solver_rank
from caffe_compat.pycaffe.python_layer import building
from caffe_compat.solver import snapshots
from caffe_compat.solver.config import read_config
from caffe_compat.solver.debug import tell_norms
from caffe_compat.solver.forcing import force_multipliers
from caffe_compat.solver.iteration import Iterations
from caffe_compat.solver.log import number
from caffe_compat.solver.methods.method import Method
from caffe_compat.solver.methods.sparsetrain import SparseTrain
from caffe_compat.solver.nets import test_nets, training_net
from caffe_compat.solver.passes import Passes
from caffe_compat.solver.schedules import POLICIES
from caffe_compat.solver.smoothing import Losses, SmoothedLoss
from caffe_compat.solver.state import check_fit, load, read_state, to_file, write_state
from caffe_compat.solver.testing import run_test
from caffe_compat.solver.updates import UPDATES, Rates

logger = logging.getLogger(__name__)


class LivePasses(Passes):
    """Gradients as the diffs of the learnable blobs."""

    def __init__(self, live: Execution, iter_size: int) -> None:
        super().__init__(live.net, live.net.learnable_params, iter_size)
        self._live = live

    def take_gradients(self, chosen: Sequence[int]) -> list[Tensor]:
        return self._live.learnable_diffs(chosen)


class LiveSolver(Iterations):
    """A Solver's iterations on Executions, with diffs as gradients; it goes on where Caffe goes on.

    starts, readies: the callbacks on_start and on_gradients_ready.
    """

    _idle: set[int]  # the numbers of parameters that no update changes while nobody has given them a diff

    def __init__(self, param: Any, path: Path) -> None:
        self._begin()
        self.path, self.param = path, param
        self._policy = param.lr_policy
        self.config = read_config(_completed(param), str(path))
        _check_prefix(param)
        if param.random_seed >= 0:
            set_random_seed(param.random_seed + solver_rank())
        self.device = torch.device("cpu")
        with building():
            self.net = training_net(param, path, "bvlc")
            self.test_nets = test_nets(param, path, "bvlc")
        self.live, self.live_tests = Execution(self.net), [Execution(net) for net in self.test_nets]
        for live in self.live_tests:
            live.explains = param.debug_info
        for live in (self.live, *self.live_tests):
            for file in (name.strip() for names in param.weights for name in names.split(",")):
                loading.copy_from(live, file)
        self._prepare(force_multipliers(self.net, False, None, self.config.force.decay, "wen2017"), None)
        self._refuse_methods()
        self._passes = LivePasses(self.live, self.config.iter_size)
        self.starts: list[Callable[[], Any]] = []
        self.readies: list[Callable[[], Any]] = []

    def _refuse_methods(self) -> None:
        """SolverError for a method that acts around passes as `cc.Solver` does them: layers are run one by one here."""
        acting = [each for each in self._shaping.methods if type(each).before_pass is not Method.before_pass]
        acting += [each for each in self._shaping.methods if isinstance(each, SparseTrain)]
        if acting:
            raise SolverError(
                f"{self.path}: asks for {acting[0].title}, which acts while passes run; train with caffe_compat.Solver "
                "or `caffe-compat solve`"
            )

    def step(self, iterations: int) -> None:
        """Do `iterations` iterations, in the order of Solver::Step."""
        self._losses.smoothed = SmoothedLoss(self.config.average_loss)
        for _ in range(iterations):
            self.live.clear_param_diffs()
            self.live.quiet.keeps_weights = not self.readies
            self.live.explains = self.param.debug_info and self._is_due(self.config.display)
            if self._is_due(self.config.test_interval) and (self.iteration > 0 or self.config.test_initialization):
                self.test()
            for call in self.starts:
                call()
            losses = [self._pass() for _ in range(self.config.iter_size)]
            self._losses.last = sum(losses) / len(losses)
            self._losses.smoothed.add(self._losses.last)
            if self._is_due(self.config.display):
                self._display(_Outputs(self.live).values())
            for call in self.readies:
                call()
            self.count_update()
            if self._is_due(self.config.snapshot):
                self.snapshot()
        self.live.quiet.keeps_weights = False  # scripts may write into them again

    def solve(self, resume: Any = None) -> None:
        """Train to max_iter, from the state in the file `resume` if given, in the order of Solver::Solve."""
        if resume is not None:
            self.restore(resume)
        self.step(self.config.max_iter - self.iteration)
        if self.config.snapshot_after_train and (not self.config.snapshot or self.iteration % self.config.snapshot):
            self.snapshot()
        if self._is_due(self.config.display):
            self._losses.smoothed.add(self.live.forward(0, len(self.live.steps) - 1))
            logger.info("Iteration %d, loss = %s", self.iteration, number(self.smoothed_loss))
        if self._is_due(self.config.test_interval):
            self.test()

    def count_update(self) -> None:
        """Solver::ApplyUpdate: take the update off the weights, leave it in the diffs, and count it."""
        self._check_policy()
        self.live.quiet.keep_weights()
        self._idle = {index for index in self._idle if self.live.learnable[index][1].is_empty}
        self._moving = [index for index in range(len(self._params)) if index not in self._idle]
        self.apply_update()
        self.state.iteration += 1

    def test(self) -> list[dict[str, Any]]:
        """Give the test nets the weights, and run them."""
        results = []
        for index, live in enumerate(self.live_tests):
            live.share_with(self.live)
            live.quiet.keeps_weights = True
            results.append(run_test(_Outputs(live), index, self.config, self.iteration, lambda: False))  # type: ignore[arg-type]
            live.quiet.keep_weights()
            live.quiet.keeps_weights = False
        return results

    def snapshot(self, name: str | None = None) -> Path:
        """Write PREFIX_iter_N.caffemodel and .solverstate, as Caffe's."""
        weights, state = snapshots.snapshot_paths(self.config, name or f"iter_{self.iteration}")
        (loading.save_hdf5 if self.config.snapshot_hdf5 else loading.save)(self.live, str(weights))
        write_state(state, to_file(self.state, str(weights)))
        return state

    def restore(self, path: Any) -> None:
        """Go on from a .solverstate or .solverstate.h5, and the weights it names."""
        if not Path(path).is_file():
            raise CheckError(f"Check failed: fd != -1 (-1 vs. -1) File not found: {path}")
        try:
            stored = read_state(path)
            check_fit(self.state, stored, Path(path), self.config.type)
            if stored.learned_net:
                loading.copy_from(self.live, str(snapshots._learned_net(stored.learned_net, Path(path))))
        except CaffeCompatError as error:
            raise in_caffes_words(error) from error
        load(self.state, stored)
        self._choose_moving()

    def rate(self) -> float:
        """The learning rate of now."""
        self._check_policy()
        return self.learning_rate

    def _check_policy(self) -> None:
        """As GetLearningRate of 9b89154; `read_config` has checked what older Caffes check too."""
        if self._policy not in POLICIES:
            raise CheckError(f"Unknown learning rate policy: {self._policy}")
        if self._policy == "sigmoid":
            gamma, size = self.param.gamma, self.param.stepsize
            check(gamma >= 0, f"this->param_.gamma() >= 0 ({gamma:g} vs. 0)")
            check(size > 0, f"this->param_.stepsize() > 0 ({size} vs. 0)")

    def set_base_rate(self, rate: float) -> None:
        """Set base_lr, which the next update follows."""
        self.param.base_lr = rate
        self.config = replace(self.config, base_lr=rate)

    def _pass(self) -> float:
        last = len(self.live.steps) - 1
        with self.live.joined():
            loss = self.live.forward(0, last)
            self.live.backward(last, 0)
        if self.live.explains:
            data = [parameter.detach() for parameter, _ in self.live.learnable]
            tell_norms(data, self.live.learnable_diffs(range(len(data))))
        return loss

    def _move(self, weights: list[Tensor], gradients: list[Tensor], history: list[Tensor], rates: Rates) -> None:
        """The step, which is left in the gradients as Caffe leaves it in the diffs."""
        apply = UPDATES[self.config.type].apply
        if self.config.type == "SGD":
            apply(weights, gradients, history, rates, self.config)
            torch._foreach_copy_(gradients, history)
            return
        steps = [torch.zeros_like(weight) for weight in weights]
        apply(steps, gradients, history, rates, self.config)
        torch._foreach_copy_(gradients, torch._foreach_neg(steps))
        torch._foreach_sub_(weights, gradients)

    def _choose_moving(self) -> None:
        """All parameters, for a script may give any of them a diff; while none has one, not those with lr_mult 0."""
        self._moving = list(range(len(self._params)))
        adaptive = self.config.type not in ("SGD", "Nesterov")
        moved = [index for index in self._moving if adaptive or self._params[index].lr_mult or self._all_move]
        count = len(self._params) or 1
        moved += [index % count for index, blob in enumerate(self.state.history) if bool(blob.any())]
        self._idle = set(self._moving) - set(moved)

    def _read_losses(self) -> Losses:
        return self._losses


class _Outputs:
    """What a test asks of a net, of an Execution."""

    def __init__(self, live: Execution) -> None:
        self._live = live
        self.steps, self.output_names = live.net.steps, live.net.output_names

    def values(self) -> dict[str, Tensor]:
        """Copies of the outputs, by name."""
        live = self._live
        return {live.blob_names[i]: live.blobs[i]._data.peek(live.blobs[i]._shape).clone() for i in live.outputs}

    def forward_with_loss(self) -> tuple[Mapping[str, Tensor], Tensor]:
        """The outputs of the next batch, and its loss."""
        loss = self._live.forward(0, len(self._live.steps) - 1)
        return self.values(), torch.tensor(loss)


def _completed(param: Any) -> Any:
    """A copy with the fields that Caffe does without: it takes 0, and asks for a policy when it first needs one."""
    completed = type(param)()
    completed.CopyFrom(param)
    completed.debug_info = False
    for name in ("base_lr", "gamma"):
        setattr(completed, name, getattr(completed, name))
    if completed.lr_policy not in POLICIES:
        completed.lr_policy = "fixed"
    if not completed.test_iter:
        completed.test_interval = 0
    if not math.isfinite(completed.base_lr):
        completed.base_lr = 0
    return completed


def _check_prefix(param: Any) -> None:
    """CheckError where snapshots are asked for and could not be written."""
    folder = Path(param.snapshot_prefix).parent
    if (param.snapshot or param.snapshot_after_train) and not folder.is_dir():
        raise CheckError(
            f"Cannot write to snapshot prefix '{param.snapshot_prefix}'.  "
            "Make sure that the directory exists and is writable."
        )
