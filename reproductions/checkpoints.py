"""What the project keeps of long steps: the logs of all, and snapshots from which they or others go on anywhere.

checkpoints/STEP of a step under way has its newest snapshot and its log so far; beside it, and of a finished step, the
weights that steps start from which are finished neither here nor in the results.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from reproductions import choosing
from reproductions.record import keep_log
from reproductions.runner import NET, PREFIX, Runner, newest_state
from reproductions.runs import HERE
from reproductions.steps import Step, StepError

LOG_FILES = ("log", f"{PREFIX}.jsonl")


def keep_checkpoint(runner: Runner, step: Step) -> Path:
    """Copy what an unfinished step goes on from, and its log so far, to where `Runner.prepare` finds them."""
    state = newest_state(runner.folder(step))
    if state is None or runner.is_done(step):
        raise StepError(f"{step.name}: is {runner.state(step)}; a checkpoint is kept of a step that is under way")
    kept = runner.checkpoint(step)
    part = kept.with_name(f"{kept.name}.part")  # so that what fails leaves the earlier checkpoint
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for path in (state, state.with_name(f"{state.name}.json"), runner.weights_at(step, runner.reached(step))):
        shutil.copy(path, part)
    for name in LOG_FILES:
        (part / name).write_text(cleaned(runner, runner.folder(step) / name), encoding="utf-8")
    for name in ("commit", NET, *([choosing.FILE] if step.chosen else ())):
        shutil.copy(runner.folder(step) / name, part)
    shutil.rmtree(kept, ignore_errors=True)
    part.rename(kept)
    copy_starts(runner, step)
    return kept


def keep_starts(runner: Runner, step: Step) -> None:
    """Of finished ones of `step` and the step that it starts from, keep only what others start from."""
    before = runner.before(step)
    for each in (step, *([before] if before else ())):
        if runner.is_finished(each):
            starts = copy_starts(runner, each)
            for path in runner.checkpoint(each).glob("*"):
                if path.name not in starts:
                    path.unlink()
            if not starts:
                shutil.rmtree(runner.checkpoint(each), ignore_errors=True)


def copy_starts(runner: Runner, step: Step) -> set[str]:
    """Copy what unfinished steps start from, as far as it is there, to the step's checkpoint; the files' names."""
    followers = [each for each in runner.network.steps if runner.before(each) == step]
    names = {runner.start_weights(each).name for each in followers if not runner.is_finished(each)}
    names = names and names | {NET}
    for path in filter(Path.exists, (runner.folder(step) / name for name in names)):
        runner.checkpoint(step).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, runner.checkpoint(step))
    return names


def keep_logs(runner: Runner, step: Step, logs: Path) -> str:
    """Copy the log and the JSON lines into the folder `logs`, without places of the machine; the path of the latter."""
    name, kept = f"{runner.network.name.replace('/', '-')}-{step.name}", ""
    for source in LOG_FILES:
        clean = runner.folder(step) / f".clean.{source}"
        clean.write_text(cleaned(runner, runner.folder(step) / source), encoding="utf-8")
        kept = keep_log(clean, f"{name}.{'jsonl' if source.endswith('jsonl') else 'log'}", logs)
    return kept


def cleaned(runner: Runner, source: Path) -> str:
    """The text of a log without places of the machine."""
    places = {str(runner.place.models.resolve()): "MODELS"} if runner.place.models else {}
    places |= {str(runner.place.work.resolve()): "WORK"}
    return cleaned_text(source.read_text(encoding="utf-8"), places)


def cleaned_text(text: str, places: Mapping[str, str]) -> str:
    """`text` with a word for each of these places, and without other folders of the machine."""
    for place, word in ({**places} | {str(HERE.parent): ".", str(Path(sys.executable).parent): ""}).items():
        text = text.replace(place + os.sep, word + "/" if word else "")
    return re.sub(r'(?<=[\s"])/[\w./-]+/', "", text)
