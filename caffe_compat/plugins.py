"""Layer types, regularizers and verbs that others add: modules of installed packages, or ones that the user names.

A package names what it adds in entry points of a group below: the entry point's name is the layer type, the regularizer
or the verb, its value the module that registers it. Such a module is imported when that name is first asked for.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caffe_compat.errors import PluginError
from caffe_compat.showing import told
from caffe_compat.without_torch import need_torch

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

LAYERS, REGULARIZERS, COMMANDS = (f"caffe_compat.{kind}" for kind in ("layers", "regularizers", "commands"))


_used: list[str] = []  # the modules that the user named
_loaded: list[EntryPoint] = []  # what installed packages gave


@functools.cache
def installed(group: str) -> dict[str, tuple[EntryPoint, ...]]:
    """The entry points of a group by name; nothing is imported."""
    from importlib.metadata import entry_points  # which takes long to import

    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=group):
        found[point.name] = (*(other for other in found.get(point.name, ()) if other != point), point)
    return dict(sorted(found.items()))


def has_plugins() -> bool:
    """Whether a package adds layer types, or the user named a module."""
    return bool(_used or installed(LAYERS))


def owner(point: EntryPoint) -> str:
    """The package that an entry point is of, and its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def load(group: str, name: str) -> Any:
    """What the entry point `name` of `group` stands for, imported now; None where no package has one.

    PluginError where two packages have one, or where it cannot be imported.
    """
    points = installed(group).get(name, ())
    if len(points) > 1:
        raise PluginError(f"'{name}' of {group} is in {', '.join(map(owner, points))}; uninstall all but one")
    return _load(points[0]) if points else None


@functools.cache
def load_all(group: str) -> tuple[str, ...]:
    """Import every entry point of `group`, for one may register more than its name says; what is wrong with any."""
    faults = []
    for points in installed(group).values():
        for point in points:
            try:
                _load(point)
            except PluginError as error:
                faults.append(str(error))
    return tuple(faults)


def use_plugin(name: str) -> None:
    """Import the module `name`, which may lie in the working directory, so that what it registers is known.

    PluginError where it is not there or cannot be imported.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    if name not in sys.modules and not _is_there(name):
        hint = f"; without .py: --plugin {Path(name).stem}" if name.endswith(".py") else ""
        raise PluginError(f"plugin '{name}': there is no such module, neither in {here} nor where Python looks{hint}")
    _guarded(f"plugin '{name}'", lambda: importlib.import_module(name))
    _used.append(name)


def place_of(error: BaseException) -> str:
    """FILE:LINE of a plugin's own code that raised `error`, or the cause of it; empty where no plugin's code did."""
    homes = {name.partition(".")[0] for name in (*_used, *(point.module for point in _loaded))}
    place = ""
    seen: BaseException | None = error
    while seen is not None:
        for frame, line in traceback.walk_tb(seen.__traceback__):
            if str(frame.f_globals.get("__name__")).partition(".")[0] in homes:
                place = f"{frame.f_code.co_filename}:{line}"
        seen = seen.__cause__ or seen.__context__
    return place


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # of a package around it
        return False


def _load(point: EntryPoint) -> Any:
    _loaded.append(point)
    return _guarded(f"plugin '{point.name}' of {owner(point)}", point.load)


def _guarded(who: str, load: Callable[[], Any]) -> Any:
    """What `load` gives; whatever it raises as one line that says whose it is, and where."""
    need_torch()
    try:
        return load()
    except PluginError as error:
        raise error if str(error).startswith("plugin '") else PluginError(f"{who}: {error}") from error
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{last.filename}:{last.lineno}" if "importlib" not in last.filename else "its import"
        raise PluginError(f"{who} cannot be imported: {told(error)} ({place})") from error
