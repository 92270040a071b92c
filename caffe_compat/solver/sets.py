"""The files of one snapshot, which appear together or not at all: weights, side-car with its arrays, and the state.

All are written beside their places and reach the disk first. Then they take their places, the state last: once it is
there, so is all that it needs. Where an older set has the same name, its state goes first, and before that a note of
what is to be done, `.PREFIX_NAME.solverstate.commit`, is laid beside; what a killed run left undone is carried to its
end from that note. So whatever moment a process dies at, a state that shows is whole, and no older set is lost.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from caffe_compat.proto.files import held_back, sync_folder, write_atomically
from caffe_compat.proto.reading import parse_json
from caffe_compat.solver.sidecar import arrays_path, sidecar_path

NAME = r"(iter_\d+|best_[^/]+|(stage\d+(-retrain)?|finalretrain)_iter_\d+)"  # what follows the prefix
NOTE = ".commit"


@contextmanager
def written_together(state: Path) -> Iterator[list[tuple[Path, Path]]]:
    """Within this block, files written atomically appear at its end, all or none; `state` is written last of them.

    Gives (file, place) of each that is written, as they come.
    """
    with held_back() as held:
        yield held
    places = {place.name for _, place in held}
    unwanted = [file.name for file in (sidecar_path(state), arrays_path(state)) if file.name not in places]
    renames = [(temporary.name, place.name) for temporary, place in held]
    if not state.exists():
        _carry_out(state.parent, unwanted, renames)
        return
    note = state.with_name(f".{state.name}{NOTE}")
    with write_atomically(note) as temporary:
        temporary.write_text(json.dumps({"gone": [state.name, *unwanted], "renames": renames}), encoding="utf-8")
    _carry_out(state.parent, [state.name, *unwanted], renames)
    _forget(note)


def recover(prefix: Path) -> None:
    """Carry to its end what killed runs of this snapshot prefix had begun, and remove what they were about to write.

    For whoever holds the prefix alone.
    """
    for note in notes(prefix):
        with suppress(ValueError, OSError):
            task = parse_json(note.read_bytes())
            if _is_of(prefix, task):
                _carry_out(note.parent, task["gone"], task["renames"])
        _forget(note)
    form = re.compile(rf"\.\.?{re.escape(prefix.name)}_{NAME}\.(caffemodel|solverstate|json).*\.part", re.DOTALL)
    for file in prefix.parent.iterdir():
        if form.fullmatch(file.name):
            file.unlink(missing_ok=True)


def notes(prefix: Path) -> list[Path]:
    """What killed runs of this prefix left to be carried to its end."""
    form = re.compile(rf"\.{re.escape(prefix.name)}_{NAME}\.solverstate(\.h5)?{re.escape(NOTE)}", re.DOTALL)
    return [file for file in prefix.parent.iterdir() if form.fullmatch(file.name)]


def prefix_of(state: Path) -> Path | None:
    """The snapshot prefix that a numbered or best state has by its name."""
    found = re.fullmatch(rf"(?P<prefix>.+)_{NAME}\.solverstate(\.h5)?", state.name, re.DOTALL)
    return state.with_name(found["prefix"]) if found else None


def states(prefix: Path) -> list[Path]:
    """The numbered states of this prefix, newest first."""
    form = re.compile(rf"{re.escape(prefix.name)}_iter_\d+\.solverstate(\.h5)?", re.DOTALL)
    return sorted((file for file in prefix.parent.iterdir() if form.fullmatch(file.name)), key=number_of, reverse=True)


def number_of(state: Path) -> int:
    """The iteration in the name of a numbered state."""
    return int(state.name.rsplit("_iter_", 1)[1].partition(".")[0])


def remove_set(state: Path) -> None:
    """Remove a state and what belongs to it, the state first."""
    weights = state.with_name(state.name.replace(".solverstate", ".caffemodel"))
    for file in (state, sidecar_path(state), arrays_path(state), weights):
        file.unlink(missing_ok=True)


def _carry_out(folder: Path, gone: Sequence[str], renames: Sequence[Sequence[str]]) -> None:
    """Remove and rename, in this order; what is done already is passed over."""
    for name in gone:
        (folder / name).unlink(missing_ok=True)
    sync_folder(folder)
    for temporary, place in renames:
        with suppress(FileNotFoundError):
            os.replace(folder / temporary, folder / place)
    sync_folder(folder)


def _forget(note: Path) -> None:
    note.unlink(missing_ok=True)
    sync_folder(note.parent)


def _is_of(prefix: Path, task: Any) -> bool:
    """Whether a note says nothing of files that are not this prefix's."""
    if not isinstance(task, dict) or task.keys() != {"gone", "renames"}:
        return False
    if not all(isinstance(part, list) for part in task.values()):
        return False
    pairs = [pair for pair in task["renames"] if isinstance(pair, list) and len(pair) == 2]
    places = [*task["gone"], *(place for _, place in pairs)]
    own = re.compile(rf"{re.escape(prefix.name)}_[^/]+", re.DOTALL)
    return len(pairs) == len(task["renames"]) and all(
        isinstance(name, str) and own.fullmatch(name.removeprefix(".")) for name in (*places, *(p for p, _ in pairs))
    )
