"""What goes by a selection in one round or several, and the share that meets a budget of work or of time."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from caffe_compat.errors import RankError
from caffe_compat.layers.base import Shape
from caffe_compat.net.cost import cost
from caffe_compat.net.inputs import valid_inputs
from caffe_compat.net.net import Net
from caffe_compat.net.timing import compare_time
from caffe_compat.progress import in_steps
from caffe_compat.proto.model import Model
from caffe_compat.prune.constants import Removed
from caffe_compat.prune.importance import mean_gradients, round_ratios
from caffe_compat.prune.masks import cut_off
from caffe_compat.prune.narrow import Coupled, narrow_classes
from caffe_compat.prune.selection import DATA_CRITERIA, OWN_COUNT, Gradients, Selection, select

logger = logging.getLogger(__name__)
STEPS = 12  # halvings in search of a share that meets a budget
TIMED_STEPS = 7  # the same where each is timed: finer than what a clock tells apart
TIMED_ROUNDS = 15


@dataclass(frozen=True)
class Trials:
    """A model whose filters may go, and what it takes to choose and to weigh them; rounds: of each choice."""

    model: Model
    coupled: Coupled
    input_shapes: Mapping[str, Shape] | None
    folder: Path | None
    batches: tuple[Mapping[str, Any], ...]
    rounds: int

    def gone(self, selection: Selection) -> Removed:
        """The channels that go, in `rounds` rounds; those of a round are cut off before the next one's scores."""
        if self.rounds < 1:
            raise RankError(f"rounds is {self.rounds}; wanted 1 or more")
        if self.rounds > 1 and selection.criterion in OWN_COUNT:
            raise RankError(f"criterion '{selection.criterion}' finds its own count at once; leave out rounds")
        if self.rounds > 1 and selection.ratios:
            raise RankError("ratios of single layers and rounds exclude one another; leave one out")
        gone: Removed = {}
        for ratio in round_ratios(selection.remove, self.rounds):
            masked = cut_off(self.model, self.coupled, gone) if gone else self.model
            gradients = self._gradients(masked) if selection.criterion in DATA_CRITERIA and self.batches else None
            gone = select(masked, self.coupled, replace(selection, remove=ratio), gradients, gone)
        return gone

    def small(self, selection: Selection) -> Model:
        """The narrower model, without constants folded in: what it costs does not depend on them."""
        gone = self.gone(selection)
        return narrow_classes(self.model, self.coupled, gone, self.input_shapes, fold=False, folder=self.folder).model

    def share_of_work(self, small: Model) -> float:
        return cost(small, self.input_shapes).multiply_adds / cost(self.model, self.input_shapes).multiply_adds

    def share_of_time(self, small: Model) -> float:
        """The time of a forward pass of `small` over that of the model; both take turns."""
        nets = [
            Net(each, "TEST", input_shapes=self.input_shapes, folder=self.folder).eval() for each in (self.model, small)
        ]
        before, after = compare_time(nets, valid_inputs(nets[0]), TIMED_ROUNDS)
        return statistics.median(b / a for a, b in zip(before, after, strict=True))

    def _gradients(self, model: Model) -> Gradients:
        net = Net(model.net, "TEST", input_shapes=self.input_shapes, folder=self.folder)
        net.load_weights(model.weights)
        found, _ = mean_gradients(net, self.batches)
        return {place: gradient.double().numpy() for place, gradient in found.items()}


def within_budget(trials: Trials, selection: Selection, multiply_adds: float | None, latency: float | None) -> Removed:
    """What goes by `selection`, with the smallest share to remove that meets the budget where there is one.

    multiply_adds, latency: the share of work, or of measured time, to keep.
    """
    if multiply_adds is not None and latency is not None:
        raise RankError("multiply_adds and latency are two budgets; give one of them")
    if multiply_adds is not None:
        selection = _search("multiply_adds", multiply_adds, trials, selection, trials.share_of_work, STEPS)
    if latency is not None:
        selection = _search("latency", latency, trials, selection, trials.share_of_time, TIMED_STEPS)
    return trials.gone(selection)


def _search(
    name: str,
    share: float,
    trials: Trials,
    selection: Selection,
    measure: Callable[[Model], float],
    steps: int,
) -> Selection:
    if not 0 < share <= 1:
        raise RankError(f"{name} is {share:g}; wanted a share above 0 and at most 1")
    if selection.criterion in OWN_COUNT:
        raise RankError(f"criterion '{selection.criterion}' says itself how many filters go; leave out {name}")
    low, high, found, left = 0.0, 1.0, None, 1.0
    for _ in in_steps(f"searching the share that meets {name}", range(steps), lambda _: ""):
        trial = replace(selection, remove=(low + high) / 2)
        spent = measure(trials.small(trial))
        if spent <= share:
            high, found, left = trial.remove, trial, spent
        else:
            low = trial.remove
    if found is None:
        raise RankError(f"{name} {share:g} cannot be met by criterion '{selection.criterion}'; allow more")
    logger.info("%s %.4g of at most %.4g: %.4g of the filters go", name, left, share, found.remove)
    return found
