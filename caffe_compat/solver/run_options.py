"""What a command line, or a call of Solver, adds to the solver's file; a resumed run goes on with it.

The side-car keeps these options as they were given. A resume that names none of them takes those; one that names
another value changes the training, and has to say that it means to.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from caffe_compat.errors import SolverError

DEFAULTS: dict[str, Any] = {
    "force": None,  # as the solver's file says
    "force_decay": None,
    "force_layers": None,
    "force_per_group": False,
    "compat": "bvlc",
    "in_place": "caffe",
    "precision": "fp32",
    "level": 0,
    "stages": (),
}
FORCE = ("force", "force_decay", "force_layers", "force_per_group")  # a change of the force changes them together
NETS = ("compat", "in_place", "level", "stages")  # the nets depend on these

Options = dict[str, Any]


def as_given(**options: Any) -> Options:
    """The options that are not None, in the form that a side-car keeps: comma lists and sequences as lists."""
    given = {name: value for name, value in options.items() if value is not None}
    for name in ("force_layers", "stages"):
        if name in given:
            words = given[name].split(",") if isinstance(given[name], str) else given[name]
            given[name] = [word.strip() for word in words]
    return {name: value for name, value in given.items() if value not in ([], False)}


def complete(options: Mapping[str, Any]) -> Options:
    """`options` with the defaults of all others."""
    return {**DEFAULTS, **options}


def resumed_options(given: Options, snapshot: Any, accept_changes: bool = False) -> Options:
    """The options for a Solver that is to go on from a `Snapshot`: those `given`, and what else its run had.

    SolverError as from `Solver.restore`. Only nets that differ by these options have to be made once more without it.
    """
    return agreed(as_given(**given), snapshot.options, snapshot.path, accept_changes)


def agreed(
    given: Options, kept: Mapping[str, Any] | None, state: str | os.PathLike[str], accept_changes: bool = False
) -> Options:
    """The options of a run that was given some and goes on from `state`, whose run had those `kept` (None: unknown).

    A new force brings its own strength and layers. SolverError where a kept option would change, unless the change is
    accepted; force "none" needs no more words than itself.
    """
    if kept is None:
        return given
    known = {name: value for name, value in kept.items() if name in DEFAULTS}
    changed = [name for name, value in given.items() if not _same(value, complete(known)[name])]
    meant = accept_changes or (given.get("force") == "none" and set(changed) <= set(FORCE))
    if changed and not meant:
        raise SolverError(
            f"{state}: its run had {in_words(known, changed)}, this one asks for {in_words(given, changed)}; leave "
            "that out to go on as it was, or accept the change: --accept-changes (accept_changes=True in Python)"
        )
    if "force" in changed:
        known = {name: value for name, value in known.items() if name not in FORCE}
    return {**known, **given}


def _same(value: Any, other: Any) -> bool:
    """Whether two values of an option mean the same; the order of names means nothing."""
    if isinstance(value, (list, tuple)) and isinstance(other, (list, tuple)):
        return set(value) == set(other)
    return bool(value == other)


def in_words(options: Mapping[str, Any], names: Iterable[str]) -> str:
    """The options of these names as a command line has them."""
    values = [(name, complete(options)[name]) for name in names]
    words = [f"{name} {','.join(value) if isinstance(value, (list, tuple)) else value}" for name, value in values]
    return ", ".join(word.replace("_", "-").replace(" None", " of the solver's file") for word in words)
