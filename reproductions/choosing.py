"""How strong a force is to be, chosen by runs on training images that are held out and never on the test images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import caffe_compat as cc
from reproductions.runs import read_events
from reproductions.steps import Chosen, Step, StepError

if TYPE_CHECKING:
    from reproductions.runner import Runner

FILE = "chosen.json"  # of the folder of a step whose strength was chosen: the choice, and what it was made from


@dataclass(frozen=True)
class Candidate:
    """A finished step on held-out images. force_decay: 0 for the one without force. error: at its end, percent."""

    name: str
    force_decay: float
    error: float


def choose(candidates: Sequence[Candidate], slack: float) -> Candidate:
    """The strongest of the candidates whose error is at most `slack` points above that without force, else the weakest.

    StepError where the run without force, or one with force, is missing.
    """
    plain = [each for each in candidates if not each.force_decay]
    forced = sorted((each for each in candidates if each.force_decay), key=lambda each: each.force_decay)
    if len(plain) != 1 or not forced:
        raise StepError("a strength is chosen among one run without force and others with it")
    near = [each for each in forced if round(each.error - plain[0].error, 6) <= slack]
    return near[-1] if near else forced[0]


def candidate(runner: Runner, step: Step) -> Candidate:
    """What the log of a finished step says of it, or its row. StepError where its last test is not there."""
    row = None if runner.is_done(step) else runner.recorded(step)
    if row is not None and row.error is not None:
        return Candidate(step.name, row.force_decay, row.error)
    last = runner.iterations(step)
    path = runner.folder(step) / "run.jsonl"
    for event in read_events(path):
        if event["event"] == "test" and event["iteration"] == last and event["outputs"]:
            error = round(100 * (1 - event["outputs"][runner.network.accuracy]), 4)
            return Candidate(step.name, float(f"{runner.solver(step).force_decay:.6g}"), error)
    raise StepError(f"{path}: has no test at iteration {last}, by which a strength is chosen")


def found(runner: Runner, step: Step) -> float | None:
    """The strength that was chosen for `step`; None where it was not chosen yet."""
    for folder in (runner.folder(step), *([runner.checkpoint(step)] if runner.has_checkpoint(step) else ())):
        if (folder / FILE).exists():
            return float(json.loads((folder / FILE).read_text(encoding="utf-8"))["force_decay"])
    return None


def settle(runner: Runner, step: Step) -> None:
    """Choose the strength of `step`, whose candidates are finished, unless that is done; its folder keeps it."""
    rule = step.chosen
    kept = runner.folder(step) / FILE
    if rule is None or kept.exists():
        return
    candidates = [candidate(runner, runner.network.step(name)) for name in rule.among]
    best = choose(candidates, rule.slack)
    facts = {"force_decay": best.force_decay, "rule": described(rule), "among": [asdict(each) for each in candidates]}
    with cc.write_atomically(kept) as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def described(rule: Chosen) -> str:
    """The rule in words."""
    return f"the strongest whose held-out error is at most {rule.slack:g} points above that without force"
