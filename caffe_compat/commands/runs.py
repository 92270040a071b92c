"""The runs that a log holds, and how one goes on from another; read from Caffe's log, ours, or our JSON lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import caffe_compat as cc
from caffe_compat.commands import glog, journal
from caffe_compat.commands.curves import Curves, Run, iteration_of

_YEAR = 366 * 24 * 3600  # seconds that pass when the year turns: glog's times may have none


@dataclass(frozen=True)
class Told:
    """What a log tells of one of its runs.

    curves: of this run and of those that it goes on from. numbers: which runs these are, from 1, the run itself last.
    count: how many there are. failure: what ended the run, if that is said. torn: lines that were skipped.
    """

    path: Path
    curves: Curves
    numbers: tuple[int, ...]
    count: int
    failure: str
    torn: int

    @property
    def note(self) -> str:
        """Which of several runs this is; empty where the log has one."""
        if self.count < 2:
            return ""
        *before, number = self.numbers
        goes_on = f", which goes on from {', '.join(map(str, before))}" if before else ""
        return f"{self.path}: {self.count} runs; this is run {number}{goes_on}; --nth N shows another"


def read_run(name: str, nth: int | None = None) -> Told:
    """Run number `nth` of the log that `name` names, by default the last, and what it goes on from.

    name: a log in glog's form or of JSON lines, told apart by content, a snapshot_prefix that has a .jsonl, or a folder
    with one .jsonl in it. DataError where there is no such file or run, or nothing of a run in it. Lines that cannot be
    read, as a killed run leaves them, are skipped.
    """
    path = find_log(name)
    lines = [line for line in re.split(r"[\r\n]+", _text(path)) if line.strip()]
    runs = (journal if lines and lines[0].lstrip().startswith("{") else glog).read_runs(lines)
    runs = [run for run in runs if run.curves or run.failure]
    if not any(run.curves for run in runs):
        failure = next((f"; it ends with: {run.failure}" for run in runs), "")
        raise cc.DataError(
            f"{path}: no line of it tells of an iteration{failure}; give the log of `solve`, `caffe train` or "
            "`caffe test`, or PREFIX.jsonl"
        )
    if nth is not None and not 1 <= nth <= len(runs):
        raise cc.DataError(f"{path}: --nth {nth}: there is no such run; it has {len(runs)}, counted from 1")
    numbers = _chain(runs, len(runs) - 1 if nth is None else nth - 1)
    torn = sum(run.torn for run in runs)
    return Told(path, _joined(runs, numbers), tuple(n + 1 for n in numbers), len(runs), runs[numbers[-1]].failure, torn)


def find_log(name: str) -> Path:
    """The log file that `name` names."""
    path = Path(name)
    if path.is_dir():
        found = sorted(path.glob("*.jsonl"))
        if len(found) != 1:
            names = ", ".join(file.name for file in found) or "none"
            raise cc.DataError(f"{path}: wanted one .jsonl in this folder, found {names}; name the file")
        return found[0]
    for candidate in (path, Path(f"{name}.jsonl")):
        if candidate.exists():
            return candidate
    raise cc.DataError(f"{name}: no such log, and no {name}.jsonl; give a log file or a snapshot_prefix")


def _text(path: Path) -> str:
    """The log as text: UTF-8, or UTF-16 as some shells write what they redirect."""
    content = cc.read_bytes(path, cc.DataError)
    marks = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
    form = marks.get(content[:2])
    if form is None and content[:200].count(0) > len(content[:200]) // 3:
        form = "utf-16-le" if content[1:2] == b"\0" else "utf-16-be"
    return content.decode(form or "utf-8", "replace").removeprefix("\ufeff")


def _chain(runs: Sequence[Run], last: int) -> list[int]:
    """The places in `runs` of the run at `last` and, before it, of those that it goes on from."""
    places = [last]
    while (resume := runs[places[0]].resume) is not None:
        earlier = range(places[0])
        before = [place for place in earlier if _told_at(runs[place], resume) is not None]
        before = before or [place for place in earlier if _resumed_at(runs[place], resume) is not None]
        if not before:
            break
        places.insert(0, before[-1])
    return places


def _resumed_at(run: Run, snapshot: str) -> int | None:
    """The iteration at which `run` wrote `snapshot`, or was when it may have.

    That is where it tells of no snapshots at all, or came to this one as it ended: killed before it told.
    """
    if (told := _told_at(run, snapshot)) is not None:
        return told
    iteration = iteration_of(snapshot)
    seen = sorted({i for rows in run.curves.sections.values() for i in rows})
    if iteration is None or not seen or seen[0] > iteration:
        return None
    gap = seen[-1] - seen[-2] if len(seen) > 1 else iteration
    is_next = max(run.snapshots.values(), default=0) < iteration <= seen[-1] + max(gap, 1)
    return iteration if is_next or not run.snapshots else None


def _told_at(run: Run, snapshot: str) -> int | None:
    """The iteration at which `run` says that it wrote `snapshot`."""
    names = {_base(path): iteration for path, iteration in run.snapshots.items()}
    return run.snapshots.get(snapshot, names.get(_base(snapshot)))


def _base(path: str) -> str:
    return PurePath(path.replace("\\", "/")).name


def _joined(runs: Sequence[Run], places: Sequence[int]) -> Curves:
    """The curves of the runs at `places`, each of which goes on from the one before; times since the first began."""
    joined = Curves()
    for before, place in zip([None, *places], places, strict=False):
        run = runs[place]
        cut = -1 if before is None or run.resume is None else _resumed_at(runs[before], run.resume)
        joined.follow(run.curves, -1 if cut is None else cut)
    moments = [moment for rows in joined.seconds.values() for moment in rows.values()]
    began = runs[places[0]].began
    began = min(moments, default=0.0) if began is None else began
    for rows in joined.seconds.values():
        for iteration, moment in rows.items():
            passed = moment - began
            rows[iteration] = passed if passed >= 0 else passed + _YEAR
    return joined
