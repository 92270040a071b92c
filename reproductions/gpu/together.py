"""Several runs in one process, iteration by iteration in turn, each on a stream of its own where there are streams.

One small net leaves a GPU idle between its kernels; those of the other nets fill the gaps. Each run computes what it
would compute alone, to the bit on a CPU, and its folder gets what `caffe-compat solve` leaves there.
"""

from __future__ import annotations

import argparse
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stderr
from pathlib import Path

import torch

import caffe_compat as cc
from caffe_compat.commands import solve
from caffe_compat.commands.terminal import LOGGER
from reproductions.runner import PREFIX, Runner, newest_state, working_in
from reproductions.steps import Step

AT_ONCE = 20  # iterations that a run queues before it is the next one's turn


class Member:
    """One of the runs: its solver, made in its folder, from the newest snapshot there. Its log lines go to its log."""

    def __init__(self, runner: Runner, step: Step, turn: Turn) -> None:
        self.runner, self.step, self.turn = runner, step, turn
        self.folder = runner.folder(step).resolve()
        self._stack = ExitStack()
        log = self._stack.enter_context((self.folder / "log").open("a", encoding="utf-8"))
        handler = cc.GlogHandler(log)
        handler.addFilter(lambda record: turn.whose is self)
        LOGGER.addHandler(handler)
        self._stack.callback(LOGGER.removeHandler, handler)
        self.stream = torch.cuda.Stream() if turn.device.type == "cuda" else None  # type: ignore[no-untyped-call]
        with ExitStack() as failed, turn.of(self), redirect_stderr(log):  # no terminal, so no progress bar for each
            failed.push(self._stack)  # its log and handler go where the solver cannot be made
            arguments = parsed(self._words())
            snapshot = solve.find_snapshot(arguments.solver_file, arguments.snapshot)
            self.solver = solve.make_solver(arguments.solver_file, arguments, snapshot)
            self._stack.enter_context(solve.told(self.solver, arguments, snapshot))
            if snapshot is not None:
                self.solver.restore(snapshot)
            failed.pop_all()

    @property
    def left(self) -> int:
        """Iterations."""
        return int(self.solver.config.max_iter - self.solver.iteration)

    def go_on(self) -> None:
        """The next iterations; after the last one the snapshot and the test that end a run."""
        with self.turn.of(self):
            self.solver.step(min(AT_ONCE, self.left))
            if not self.left:
                self.solver.solve()

    def keep(self) -> None:
        """A snapshot of now, unless there is one."""
        if self.runner.reached(self.step) != self.solver.iteration:
            with self.turn.of(self):
                self.solver.snapshot()

    def close(self) -> None:
        with self.turn.of(self):
            self._stack.close()

    def _words(self) -> list[str]:
        place = self.runner.place
        words = ["solver.prototxt", *self.step.options, "--device", str(self.turn.device)]
        words += ["--keep-last", str(self.step.keep_last)]
        if state := newest_state(self.folder):
            words += ["--snapshot", state.name]
        elif self.step.start:
            words += ["--weights", str(self.runner.start_weights(self.step).resolve())]
        return words + (["--threads", str(place.threads)] if place.threads else [])


class Turn:
    """Whose turn it is: in the meantime its folder is the working directory, and its stream the current one."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.whose: Member | None = None

    @contextmanager
    def of(self, member: Member) -> Iterator[None]:
        stream = getattr(member, "stream", None)
        self.whose = member
        try:
            with working_in(member.folder), nullcontext() if stream is None else torch.cuda.stream(stream):
                yield
        finally:
            self.whose = None


def parsed(words: Sequence[str]) -> argparse.Namespace:
    """The arguments of `caffe-compat solve` that `words` stand for."""
    parser = argparse.ArgumentParser()
    solve.add_arguments(parser)
    return parser.parse_args(words)


def train(
    runner: Runner, steps: Sequence[Step], seconds: float, say: Callable[[str], None] = print, at_least: int = 0
) -> bool:
    """Train all unfinished `steps` together until they are finished or `seconds` are over; whether they are finished.

    at_least: iterations that each makes, however long they take. What is not finished leaves a snapshot, from which
    the next call goes on; a run that diverges leaves the others to go on, and its line says so. SIGINT and SIGTERM end
    it in the same way, as KeyboardInterrupt; a second one at once, without the run whose turn it is.
    """
    deadline = time.monotonic() + seconds
    turn = Turn(torch.device(runner.place.device))
    level = LOGGER.level
    LOGGER.setLevel(logging.INFO)
    members: list[Member] = []
    try:
        for step in steps:
            if not runner.is_done(step):
                runner.prepare(step)
                members.append(Member(runner, step, turn))
        started = time.monotonic()
        with orderly() as stopped:
            done = _until(members, deadline, at_least, say, stopped)
        _tell(members, done, time.monotonic() - started, say)
    finally:
        for member in members:
            member.close()
        LOGGER.setLevel(level)
    if stopped.is_set():
        raise KeyboardInterrupt
    return all(map(runner.is_done, steps))


@contextmanager
def orderly() -> Iterator[threading.Event]:
    """Within this block the first SIGINT or SIGTERM sets the event; the second is a KeyboardInterrupt."""
    stopped = threading.Event()

    def stop(number: int, frame: object) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _until(
    members: Sequence[Member], deadline: float, at_least: int, say: Callable[[str], None], stopped: threading.Event
) -> int:
    """Iterations of all members together; each that is not finished has a snapshot, of a whole iteration."""
    going, done = list(members), 0
    starts = {member: member.solver.iteration for member in members}

    def is_time() -> bool:
        return time.monotonic() < deadline or any(m.solver.iteration - starts[m] < at_least for m in going)

    try:
        while going and is_time() and not stopped.is_set():
            for member in list(going):
                if stopped.is_set():
                    break
                before = member.left
                try:
                    member.go_on()
                except cc.CaffeCompatError as error:
                    say(f"{member.step.name}: {error}")
                    going.remove(member)
                except BaseException:  # in the middle of an iteration, of which no snapshot is taken
                    going.remove(member)
                    raise
                done += before - member.left
                if not member.left:
                    going.remove(member)
    finally:
        for member in going:
            member.keep()
    return done


def _tell(members: Sequence[Member], done: int, seconds: float, say: Callable[[str], None]) -> None:
    for member in members:
        say(f"{member.step.name}: iteration {member.solver.iteration} of {member.solver.config.max_iter}")
    if done:
        say(f"{len(members)} nets together: {1000 * seconds / done:.3f} ms an iteration of one net, tests included")


def kept_files(runner: Runner, step: Step) -> list[Path]:
    """What of a step's folder the next machine needs, or a reader: its logs, and the newest snapshot or the weights."""
    folder = runner.folder(step)
    state = newest_state(folder)
    names = ("log", f"{PREFIX}.jsonl", "commit", "solver.prototxt", "train_test.prototxt", "measured.json")
    found = [folder / name for name in names]
    if runner.is_done(step):
        found.append(runner.weights(step))
    elif state is not None:
        found += [state, state.with_name(f"{state.name}.json"), runner.weights_at(step, runner.reached(step))]
    return [path for path in found if path.exists()]
