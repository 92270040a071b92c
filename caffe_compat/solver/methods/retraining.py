"""What IncReg does once its groups are gone: train on, retrain by the accuracy of tests, and end or prune further.

    prune        until every layer has its share
    losseval     losseval_interval iterations more
    retrain      a test every retrain_test_interval iterations. Where the best accuracy of the learning rate of now is
                 too many tests ago, the rate falls to a tenth, and training goes on from that best. It ends where the
                 rate fell five times, or is below 1e-6, or was no gain.
    then, where acc_borderline is 0 or less, the best of all is the result; else the mean of the three best accuracies
    is compared with it: with enough of it left, more is pruned from the best of the first rate, the more the further
    the accuracy is from the borderline; with too little, less of the last stage is pruned, from before it
    final_retrain   where all is pruned, or a further step would be too small: retraining at the last rate, until its
                 best is too many tests ago

As Solver::Step, CheckMaxAcc, CheckPruneStage, SetNewCurrentPruneRatio and CheckIfFinalTargetAchieved of solver.cpp,
MingSun-Tse/Caffe_IncReg at 32b9d62. Going back leaves the places of data and the random numbers as they are, as there.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from caffe_compat.errors import SolverError
from caffe_compat.net.net import Net
from caffe_compat.solver.log import number
from caffe_compat.solver.methods.increg_fields import RetrainConfig
from caffe_compat.solver.methods.increg_layers import FIRST_STEP
from caffe_compat.solver.methods.method import Run

logger = logging.getLogger(__name__)

PATIENCE, FINAL_PATIENCE = 4, 8  # tests after the best one
MORE_PATIENCE = 2  # where the share to prune is given; and once more at the first rate of a retraining
DECAY, MOST_DECAYS, LEAST_RATE = 0.1, 5, 1e-6
TOLERATED = 5e-4  # of accuracy below the borderline
START = "stage0_iter_0"  # the snapshot from before the first iteration
LEAST_STEP, MOST_STEP, STEP_OF_ACCURACY = 0.01, 0.2, 10.0  # of the share to prune


class Pruning(Protocol):
    """What is pruned, by layer.

    real: the type Caffe would compute in. finished_at: the iteration in which the last layer had what it is to have.
    has_all, is_fast: whether all have their prune_ratio, whether the net reached `speedup`. settle: what is pruned now
    stays. aim: from then on increment / 0.5 of prune_ratio_step more is to be pruned. take_back: the layers' state of a
    snapshot.
    """

    @property
    def real(self) -> Any: ...

    @property
    def is_finished(self) -> bool: ...

    @property
    def finished_at(self) -> int: ...

    @property
    def has_all(self) -> bool: ...

    @property
    def is_fast(self) -> bool: ...

    def settle(self) -> None: ...

    def aim(self, increment: float) -> None: ...

    def take_back(self, state: Mapping[str, Any]) -> None: ...


@dataclass
class Best:
    """The best accuracy since some moment: at which test of the rate of then, in which snapshot, kept as which."""

    accuracy: float
    test: int
    name: str
    number: int


@dataclass
class State:
    """kept: snapshots written. first_rate, rate, last_rate: where retraining began, now, of the last one that ended.

    tests, decays: of this rate, of this retraining. best, first, overall: of this rate, of the first one, of all.
    good_stage, good: from where the next stage begins, and the best net so far that is good enough.
    """

    name: str = "prune"
    stage: int = 1
    kept: int = 0
    finished_at: int = -1
    began_at: int = -1
    rate: float | None = None
    first_rate: float = 0.0
    last_rate: float = 0.0
    tests: int = 0
    decays: int = 0
    best: Best | None = None
    first: Best | None = None
    overall: Best | None = None
    accuracies: list[float] = field(default_factory=list)
    increment: float = FIRST_STEP
    good_accuracy: float = 0.0
    good_stage: Best | None = None
    good: Best | None = None


class Retraining:
    """The states of one run; `state` is all that changes."""

    def __init__(self, config: RetrainConfig, pruning: Pruning) -> None:
        self._config, self._pruning = config, pruning
        self.state = State(good_accuracy=config.baseline)

    @property
    def passes(self) -> int:
        """How many passes an iteration has, for each of iter_size."""
        given, name = dict(self._config.passes), self.state.name
        if name in ("losseval", "retrain") and not self._config.in_stages:
            name = "final_retrain"
        return given.get(name, 1)

    @property
    def is_over(self) -> bool:
        return self.state.name == "done"

    def begin(self, run: Run) -> None:
        """Before the first iteration."""
        if self._config.in_stages and run.iteration == 0 and self.state.good_stage is None:
            self.state.good_stage = self._keep(run, START, self._config.baseline)

    def rate(self, policy: float) -> float:
        """The learning rate: that of the policy until the first retraining, from then on what retraining says."""
        return policy if self.state.rate is None else self.state.rate

    def end_iteration(self, run: Run) -> None:
        """After the update of an iteration."""
        state, interval = self.state, self._config.test_interval
        longer = 0 if self._config.in_stages else MORE_PATIENCE
        if state.name == "prune" and self._pruning.is_finished:
            state.name, state.finished_at = "losseval", self._pruning.finished_at
            logger.info("IncReg: stage %d is pruned; training goes on before its accuracy is looked at", state.stage)
        if state.name == "losseval" and run.iteration - 1 - state.finished_at == self._config.losseval_interval:
            state.name, state.first_rate = "retrain", run.rate
            state.rate = run.rate
        for name, patience in (("retrain", PATIENCE + longer), ("final_retrain", FINAL_PATIENCE)):
            done = run.iteration - 1
            if state.name == name and interval and done % interval == 0 and done != state.began_at:
                self._test(run, patience)

    def state_dict(self) -> dict[str, Any]:
        return asdict(self.state)

    def load_state_dict(self, kept: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave; ValueError, KeyError or TypeError where it is something else."""
        facts = dict(kept)
        for name in ("best", "first", "overall", "good_stage", "good"):
            facts[name] = None if facts[name] is None else Best(**facts[name])
        self.state = State(**facts)

    def _test(self, run: Run, patience: int) -> None:
        state, accuracies = self.state, run.accuracies()
        accuracy = min(accuracies) if self._config.takes_least else max(accuracies)
        state.accuracies.append(accuracy)
        state.tests += 1
        logger.info("IncReg: %s, accuracy = %s", state.name, number(accuracy))
        if state.best is None or accuracy > state.best.accuracy:
            stem = "finalretrain" if state.name == "final_retrain" else f"stage{state.stage}-retrain"
            state.best = self._keep(run, f"{stem}_iter_{run.iteration}", accuracy)
            if state.overall is None or accuracy > state.overall.accuracy:
                state.overall = state.best
        if state.name == "retrain" and not state.decays:
            patience += MORE_PATIENCE
        if state.tests - state.best.test > patience:
            self._end_rate(run)

    def _end_rate(self, run: Run) -> None:
        """The accuracy rose no more: go back to the best of this rate, and on with a tenth of it."""
        state, real = self.state, self._pruning.real
        best, overall = state.best, state.overall
        assert best is not None and overall is not None and state.rate is not None
        state.tests, state.best = 0, None
        state.first = state.first or best
        state.rate = float(real(state.rate) * real(DECAY))
        state.decays += 1
        self._go_back(run, best)
        if state.name == "final_retrain":
            self._end(run, overall if state.good is None or overall.accuracy > state.good.accuracy else state.good)
        elif state.decays >= MOST_DECAYS or best.accuracy < overall.accuracy or state.rate < LEAST_RATE:
            self._end_retraining(run, state.first, overall)
        else:
            logger.info("IncReg: retraining goes on from %s, lr = %s", best.name, number(state.rate))

    def _end_retraining(self, run: Run, first: Best, overall: Best) -> None:
        state, real = self.state, self._pruning.real
        assert state.rate is not None
        greatest = [real(each) for each in sorted(state.accuracies, reverse=True)[:3]]
        accuracy = float(sum(greatest[1:], greatest[0]) / real(len(greatest)))
        state.last_rate, state.rate = float(real(state.rate) / real(DECAY)), state.first_rate
        state.first, state.overall, state.accuracies, state.decays = None, None, [], 0
        if self._config.in_stages:
            self._go_back(run, first)
            self._judge(run, accuracy, overall)
        else:
            self._end(run, overall)

    def _judge(self, run: Run, accuracy: float, overall: Best) -> None:
        """Prune more where the accuracy is good enough, else less; the last retraining where there is no more to do."""
        state, real, was_fast = self.state, self._pruning.real, self._pruning.is_fast
        above = real(accuracy) - real(self._config.borderline)
        enough = not -above > real(TOLERATED)
        logger.info("IncReg: stage %d has an accuracy of %s", state.stage, number(accuracy))
        if enough:
            state.good_accuracy, state.good = accuracy, overall
            self._pruning.settle()
            step = min(max(real(LEAST_STEP), above * real(STEP_OF_ACCURACY)), real(MOST_STEP))
        else:
            good = real(state.good_accuracy)
            step = real(state.increment) / (good - real(accuracy)) * (good - real(self._config.borderline))
            assert state.good_stage is not None
            self._go_back(run, state.good_stage)
        state.increment, state.name = float(step), "prune"
        has_all = self._pruning.has_all or was_fast
        self._pruning.aim(state.increment)
        if enough:
            state.good_stage = self._keep(run, f"stage{state.stage}_iter_{run.iteration}", accuracy)
            state.stage += 1
        if has_all or (not enough and step < real(LEAST_STEP)):
            self._retrain_finally(run, has_all)
        else:
            logger.info("IncReg: stage %d begins, with a step of %s", state.stage, number(state.increment))

    def _retrain_finally(self, run: Run, has_all: bool) -> None:
        state = self.state
        best = state.good or state.good_stage
        assert best is not None
        if state.good is None:
            logger.warning("IncReg: no stage kept an accuracy of %s; nothing is pruned", self._config.borderline)
        if state.good is None or (has_all and self._config.stops_early):
            self._end(run, best)
            return
        self._go_back(run, best)
        state.name, state.began_at, state.rate = "final_retrain", run.iteration - 1, state.last_rate

    def _end(self, run: Run, best: Best) -> None:
        self._go_back(run, best)
        self.state.name = "done"
        logger.info("IncReg: done; the best net is that of %s, accuracy = %s", best.name, number(best.accuracy))

    def _keep(self, run: Run, name: str, accuracy: float) -> Best:
        self.state.kept += 1
        best = Best(accuracy, self.state.tests, name, self.state.kept)
        run.keep(name)
        return best

    def _go_back(self, run: Run, best: Best) -> None:
        kept = run.go_back(best.name)
        if kept["retraining"]["kept"] != best.number:
            raise SolverError(
                f"the snapshot {best.name} is not the one that this run went by: another one with this snapshot_prefix "
                "wrote it since; resume from an earlier snapshot"
            )
        self._pruning.take_back(kept)
        if best.name == START:
            run.iteration = 1  # there an iteration is counted after going back to 0 too


def check_accuracy(nets: Sequence[Net]) -> None:
    """SolverError where the last of these test nets has no output called accuracy."""
    if not nets:
        raise SolverError("retrain_test_interval asks for tests, but there is no test net; give test_iter and its net")
    outputs = list(nets[-1].output_names)
    if not any(map(is_accuracy, outputs)):
        raise SolverError(
            f"retrain_test_interval asks for accuracies, but the last test net has none among its outputs, "
            f"{', '.join(outputs)}; add an Accuracy layer with a top called accuracy"
        )


def is_accuracy(output: str) -> bool:
    """Whether an output of a test net counts, by its name."""
    return "ccuracy" in output
