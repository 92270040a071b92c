"""What a recipe has done so far, kept in its folder: one STEP.json for every step, so that a second run goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caffe_compat.errors import CaffeCompatError, SolverError, WriteError
from caffe_compat.proto.files import write_atomically
from caffe_compat.proto.reading import read_json

Facts = dict[str, Any]


class Records:
    """The `steps` of a recipe in `folder`, which is made; each builds on those before it.

    A step has the settings it was begun with, and facts once it is finished.

    WriteError where the folder cannot be made.
    """

    def __init__(self, folder: Path, steps: Sequence[str]) -> None:
        self.folder, self.steps = folder, tuple(steps)
        self._begun: list[str] = []  # by this object
        self._was_there = folder.is_dir()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WriteError(f"{folder}: cannot be made: {error.strerror}") from None

    def begin(self, step: str, settings: Mapping[str, Any]) -> Facts | None:
        """The facts of `step` if it is finished; None if it is to be done or to be gone on with.

        SolverError where the step was begun with other settings.
        """
        path = self._path(step)
        wanted = json.loads(json.dumps(settings))
        if not path.is_file():
            self._write(path, {"settings": wanted, "facts": None})
            self._begun.append(step)
            return None
        found = self._read(path)
        for name in dict.fromkeys([*wanted, *found["settings"]]):
            was, now = found["settings"].get(name), wanted.get(name)
            if was != now:
                later = [f"{each}*" for each in self.steps[self.steps.index(step) :]]
                raise SolverError(
                    f"{path}: step '{step}' was made with {name} {_told(was)}, now {name} is {now}; take another "
                    f"folder, or remove {', '.join(later)} in {self.folder} to go on from the steps before"
                )
        facts: Facts | None = found["facts"]
        return facts

    def finish(self, step: str, facts: Facts) -> None:
        """Note that `step`, once begun, is done, and what came of it."""
        path = self._path(step)
        self._write(path, {**self._read(path), "facts": facts})

    @contextmanager
    def undone_where_refused(self, *beside: str) -> Iterator[None]:
        """A step that is begun within this block, and refused before it made a file, was never begun.

        A folder that was made for it, and has nothing else but the files `beside`, goes too. So what was wrong can be
        put right and the same folder be given again.
        """
        try:
            yield
        except CaffeCompatError:
            if self._begun and {file.name for file in self.folder.glob(f"{self._begun[-1]}*")} == {
                self._path(self._begun[-1]).name
            }:
                self._path(self._begun[-1]).unlink(missing_ok=True)
            if not self._was_there and {file.name for file in self.folder.iterdir()} <= set(beside):
                shutil.rmtree(self.folder)
            raise

    def _path(self, step: str) -> Path:
        return self.folder / f"{step}.json"

    def _read(self, path: Path) -> dict[str, Any]:
        found = read_json(path, "the record of a step", SolverError)
        try:
            return {"settings": dict(found["settings"]), "facts": found["facts"]}
        except (ValueError, KeyError, TypeError) as error:
            raise SolverError(f"{path}: is no record of a step ({error}); remove it, or take another folder") from None

    def _write(self, path: Path, record: dict[str, Any]) -> None:
        with write_atomically(path) as temporary:
            temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")


def _told(value: Any) -> str:
    try:
        return str(value)
    except RecursionError:
        return "what lies in itself too deep"


def fingerprint(*texts: str | bytes) -> str:
    """A short name for these texts, which changes with any of them."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() if isinstance(text, str) else text)
        digest.update(b"\0")
    return digest.hexdigest()[:16]
