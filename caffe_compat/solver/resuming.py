"""What a Solver leaves in snapshots, and how it goes on from one."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from caffe_compat.errors import SolverError
from caffe_compat.net.net import Net
from caffe_compat.solver import snapshots
from caffe_compat.solver.iteration import Iterations
from caffe_compat.solver.method_state import Stateful
from caffe_compat.solver.methods.retraining import is_accuracy
from caffe_compat.solver.run_options import NETS, Options, agreed, complete, in_words
from caffe_compat.solver.sidecar import Sidecar
from caffe_compat.solver.snapshots import Snapshot

logger = logging.getLogger(__name__)


class MethodRun:
    """A solver as the method `title` may use it, see `methods.method.Run`."""

    def __init__(self, solver: Resuming, title: str) -> None:
        self._solver, self._title = solver, title

    @property
    def iteration(self) -> int:
        return self._solver.state.iteration

    @iteration.setter
    def iteration(self, value: int) -> None:
        self._solver.state.iteration = value

    @property
    def rate(self) -> float:
        return self._solver.applied_rate

    def accuracies(self) -> list[float]:
        solver = self._solver
        solver._tests_whole = True
        try:
            results = solver.test()
        finally:
            solver._tests_whole = False
        last = results[-1] if results else {}  # none where the root alone tests
        found = [np.ravel(value).tolist() for name, value in last.items() if is_accuracy(name)]
        values: list[float] = solver._agreed([value for values in found for value in values])
        return values

    def keep(self, name: str) -> None:
        self._solver.snapshot(name)
        self._solver._agreed(None)  # it is there before another process looks for it

    def go_back(self, name: str) -> Mapping[str, Any]:
        kept = self._solver.go_back(name)
        if self._title not in kept:
            raise SolverError(f"the snapshot '{name}' has no state of {self._title}; it is of another run")
        state: Mapping[str, Any] = kept[self._title]
        return state


class Resuming(Iterations):
    """The part of a Solver that writes its state and takes one over, options of the run included."""

    _given: Options  # what this Solver was given beside its solver's file
    _options: Options  # what holds: that, or what a snapshot's run had

    def _configure(self, options: Options) -> None:
        """See Solver."""
        raise NotImplementedError

    def _make_nets(self, weights: Any) -> None:
        """See Solver."""
        raise NotImplementedError

    def _start(self) -> None:
        """See Solver."""
        raise NotImplementedError

    def test(self) -> list[dict[str, Any]]:
        """See Solver."""
        raise NotImplementedError

    def keep(self, name: str, method: Stateful) -> None:
        """Let every snapshot keep the state of `method` under `name`, and every `restore` hand it back.

        Where the snapshot that this run went on from has one for that name, it is handed over now. Names are one for
        all ranks, and only the root's state is kept. SolverError where the name is taken or the state does not fit.
        """
        self._methods.add(name, method)

    def snapshot(self, name: str | None = None, beside: Mapping[Path, bytes] | None = None) -> Path:
        """Write weights and state of now as PREFIX_name ("iter_N" by default); the solverstate, for `restore`.

        beside: contents of further files that belong to it, by path. All of them appear together, or none does.
        """
        if self._early is not None and self._early.is_torn:
            raise SolverError(
                f"iteration {self.iteration} failed in the middle of its update, so that its weights are of no "
                "iteration; restore a snapshot"
            )
        name = name or f"iter_{self.iteration}"
        facts = (self.config, self._nets(), self.state, self._read_losses().smoothed)
        self.is_writing = True
        try:
            path = snapshots.write_snapshot(*facts, name, beside or {}, **self._extras())
            self._call("after_snapshot", path)
        finally:
            self.is_writing = False
        return path

    def restore(self, path: str | os.PathLike[str] | Snapshot, accept_changes: bool = False) -> None:
        """Go on from a .solverstate or .solverstate.h5 of ours or of Caffe's, and the weights it names.

        With our own side-car beside it, data and random numbers go on too: an interrupted run equals a straight one.
        The options that the run had beside its solver's file (force, compat, precision, ...) are taken from there;
        where this Solver was given another value, it is a SolverError, unless with accept_changes or force="none". Nets
        are made anew where compat, level or stages differ. Nothing else changes where state or weights do not fit.
        """
        logger.info("Resuming from %s", path.path if isinstance(path, Snapshot) else path)
        opened = path if isinstance(path, Snapshot) else snapshots.open_snapshot(path)
        kept = opened.options
        self._early = None
        self._take_options(agreed(self._given, kept, opened.path, accept_changes), kept)
        self._carried = snapshots.load_snapshot(opened, self.config, self._nets(), self.state)
        self._choose_moving()
        self._shaping.loaded(self._weights())
        if opened.sidecar is not None:
            self._restore_extras(opened.sidecar)

    def go_back(self, name: str) -> Mapping[str, Any]:
        """Take weights, history and iteration of the snapshot PREFIX_name, and train on; what methods kept in it.

        Data goes on from its place, random numbers too. SolverError where it is not there, or not whole.
        """
        self._read_losses()
        opened = snapshots.open_snapshot(snapshots.snapshot_paths(self.config, name)[1])
        if opened.sidecar is None:
            raise SolverError(f"{opened.path}: its side-car is gone, without which a method cannot go back to it")
        logger.info("Going back to %s", opened.path)
        snapshots.load_training(opened, self.config, self.net, self.state)
        return opened.sidecar.methods

    def _run_of(self, title: str) -> MethodRun:
        return MethodRun(self, title)

    def _agreed(self, value: Any) -> Any:
        """`value` of the root, in all processes that train together; here there is one."""
        return value

    def _take_options(self, options: Options, kept: Options | None) -> None:
        """Train with `options` from now on; the run until now had those `kept`, if that is known."""
        old, new = complete(self._options), complete(options)
        before = new if kept is None else complete(kept)
        if changed := [name for name in new if new[name] != before[name]]:
            logger.info("Resuming with %s in place of %s", in_words(new, changed), in_words(before, changed))
        if old == new:
            self._options = options
            return
        self._configure(options)
        if any(old[name] != new[name] for name in NETS):
            self._make_nets(())
        self._start()

    def _extras(self) -> dict[str, Any]:
        """What else the side-car of a snapshot keeps."""
        return {
            "random": self._random or [self._generators()],
            "loss_scale": self._passes.scale.kept,
            "run": self._options,
            "methods": self._methods.kept(),
            "others": self._unknown,
        }

    def _restore_extras(self, extras: Sidecar) -> None:
        self._passes.scale.restore(extras.loss_scale)
        self._methods.restore(extras.methods)
        self._unknown = extras.others

    def _nets(self) -> dict[str, Net]:
        return {"train": self.net, **{f"test {index}": net for index, net in enumerate(self.test_nets)}}

    def _call(self, hook: str, *facts: Any) -> None:
        for callback in self.callbacks:
            if (method := getattr(callback, hook, None)) is not None:
                method(self, *facts)
