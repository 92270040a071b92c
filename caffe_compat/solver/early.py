"""Large gradients that are applied as soon as a backward pass has them whole, and freed: they are never all there.

SGDSolver::ApplyUpdate treats one parameter after another, and what it does to one does not depend on the others where
nothing is clipped. So each large one may have its turn while the pass goes on; every value is the same to the bit.
"""

from __future__ import annotations

import logging
import math
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

from torch import Tensor

from caffe_compat.layers.caffe.inner_product import InnerProduct
from caffe_compat.solver.looped import parts_of

if TYPE_CHECKING:
    from caffe_compat.solver.passes import Passes
    from caffe_compat.solver.solver import Solver

Update = Callable[..., None]  # (numbers of parameters, rate, rows and their gradient or nothing)

logger = logging.getLogger(__name__)

LEAST = 1 << 18  # values; smaller ones are faster updated all at once
# layers whose backward pass reads their blobs in the very step that gives the blobs' gradients
_TYPES = frozenset({"Convolution", "Deconvolution", "InnerProduct", "Scale", "Bias"})


def obstacle(solver: Solver) -> str:
    """Why the gradients of a run must all be there at its update; empty where they need not."""
    config = solver.config
    reasons = {
        "they are clipped": config.clip_gradients >= 0,
        "iter_size is above 1": config.iter_size != 1,
        "debug_info shows them": config.debug_info,
        "a method around the paper, the structure of weights or groups of the force look at all": solver.counts_every,
        "a subclass may read them": type(solver).__name__ != "Solver",
        "they are on a GPU": solver.device.type != "cpu",
        "a callback may read them": any(map(_may_read, solver.callbacks)),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


@contextmanager
def updating_early(
    solver: Solver, passes: Passes, update: Update, rate: Callable[[], float]
) -> Iterator[EarlyUpdates | None]:
    """Within this block the iterations of `solver` update early, where nothing needs all gradients at once."""
    reason = obstacle(solver) or ("fp16 tells by all of them whether one overflowed" if passes.scale.checks else "")
    if reason:
        logger.debug("gradients are applied together: %s", reason)
        yield None
        return
    early = EarlyUpdates(solver, update, rate)
    before, passes.before_backward = passes.before_backward, early.expect
    try:
        with parts_of(solver.moving_values), early.run():
            yield early
    finally:
        passes.before_backward = before


def _may_read(callback: Any) -> bool:
    """Whether a callback may look at gradients: those of this package do not, others say so by `reads_gradients`."""
    ours = type(callback).__module__.startswith("caffe_compat.")
    return bool(getattr(callback, "reads_gradients", not ours))


class EarlyUpdates:
    """Updates of the large parameters of a solver within its backward passes; made for one run.

    update: applies the gradients of the parameters of these numbers at a rate. rate: that of the iteration under way.
    """

    def __init__(self, solver: Solver, update: Update, rate: Callable[[], float]) -> None:
        self.update, self.rate = update, rate
        self.done: list[int] = []  # in the iteration under way
        self.is_torn = False  # whether an iteration ended in the middle of its update
        self.is_armed = False
        self._now = math.nan
        params = solver.net.learnable_params
        kinds = {layer.name: layer.param.type for _, layer in solver.net.steps}
        self._chosen = {
            index: param.tensor
            for index, param in enumerate(params)
            if param.tensor.requires_grad and param.tensor.numel() >= LEAST
            if all(kinds[name] in _TYPES for name, _ in param.users)
        }
        self._in_parts = {
            index: layer
            for index in self._chosen
            if isinstance(layer := solver.net.layers[params[index].layer], InnerProduct) and not layer.transpose
            if len(params[index].users) == 1 and params[index].tensor.dim() == 2 and solver.takes_parts(index)
        }

    @contextmanager
    def run(self) -> Iterator[None]:
        """Within this block the iterations of the solver update early."""
        handles = [
            tensor.register_post_accumulate_grad_hook(partial(self._whole, index))  # type: ignore[no-untyped-call]
            for index, tensor in self._chosen.items()
        ]
        for index, layer in self._in_parts.items():
            vars(layer)["taker"] = _Rows(self, index)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            for layer in self._in_parts.values():
                vars(layer).pop("taker")

    @contextmanager
    def iteration(self) -> Iterator[None]:
        """Around one pass and its update, in which no Ctrl-C falls: it comes behind them."""
        with _after_this_block(signal.SIGINT):
            try:
                yield
            except BaseException:
                self.is_torn = self.is_torn or bool(self.done)
                raise
            finally:
                self.is_armed = False
                self.done.clear()

    def expect(self, loss: Tensor) -> None:
        """Before the backward pass of `loss`: where that is no number, the weights stay as they are."""
        self.is_armed = bool(loss.isfinite())
        self._now = self.rate() if self.is_armed else math.nan

    def left(self, indices: Sequence[int]) -> list[int]:
        """Those of the parameters that have had no update in this iteration."""
        return [index for index in indices if index not in self.done] if self.done else list(indices)

    def take(self, index: int, part: tuple[slice, Tensor]) -> None:
        """Apply the gradient of some rows of parameter `index`."""
        if index not in self.done:
            self.done.append(index)
        self.update([index], self._now, part)

    def _whole(self, index: int, tensor: Tensor) -> None:
        if self.is_armed and tensor.grad is not None:  # it is None where the gradient was taken in parts
            self.done.append(index)
            self.update([index], self._now)
            tensor.grad = None


class _Rows:
    """Takes the gradient of parameter `index` in parts; see Taker."""

    def __init__(self, early: EarlyUpdates, index: int) -> None:
        self.early, self.index = early, index

    def wants_parts(self) -> bool:
        return self.early.is_armed

    def take(self, rows: slice, gradient: Tensor) -> None:
        self.early.take(self.index, (rows, gradient))


@contextmanager
def _after_this_block(number: signal.Signals) -> Iterator[None]:
    """Hold a signal back that Python handles, and let it come after the block."""
    before = signal.getsignal(number)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    signal.signal(number, note)
    try:
        yield
    finally:
        signal.signal(number, before)
        if came:
            signal.raise_signal(number)
