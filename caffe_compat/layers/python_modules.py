"""Where the modules of Python layers are, and what takes the place of those that are not there."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from caffe_compat.errors import MissingDataError
from caffe_compat.layers.base import Count, Layer, Shape
from caffe_compat.layers.source import SourceLayer
from caffe_compat.showing import visible

_log = logging.getLogger(__name__)
NO_PYTHON = "CAFFE_COMPAT_NO_PYTHON"  # environment variable: set, no module of a Python layer is imported


def python_is_off() -> bool:
    """Whether the user wants no Python code of a net to run."""
    return os.environ.get(NO_PYTHON, "0") not in ("", "0")


def module_place(module: str, folder: Path | None) -> str:
    """The file of Python module `module` in `folder`, the working directory or sys.path; empty where there is none.

    Nothing is imported, of a module in a package not even the package.
    """
    names = module.split(".")
    if not all(name.isidentifier() for name in names):
        return ""
    path = Path(*names)
    for place in dict.fromkeys((folder or Path(), Path())):
        for file in (place / path.with_suffix(".py"), place / path / "__init__.py", place / path):
            if file.exists():
                return str(file)
    try:
        spec = importlib.util.find_spec(names[0])
    except (ImportError, ValueError):
        return ""
    if spec is None:
        return ""
    for package in spec.submodule_search_locations or ():
        inside = Path(package, *names[1:])
        for file in (inside.with_suffix(".py"), inside / "__init__.py"):
            if len(names) > 1 and file.exists():
                return str(file)
    frozen = getattr(spec.loader_state, "filename", None)
    return (spec.origin if spec.has_location else frozen) or names[0]


def module_is_here(module: str, folder: Path | None) -> bool:
    """Whether Python module `module` is in `folder`, the working directory or sys.path; it is not imported."""
    return bool(module_place(module, folder))


@cache
def announce(layer: str, name: str, file: str) -> None:
    """Say once that code of the user's, or of whoever made the net, is about to run."""
    _log.warning("%s: running Python code that the net names: class %s of %s", layer, visible(name), file)


_stand_ins: dict[tuple[str, str], type[Layer]] = {}
LayerClass = TypeVar("LayerClass", bound=type[Layer])


def stands_in(module: str, layer: str) -> Callable[[LayerClass], LayerClass]:
    """Class decorator: the class that takes the place of Python layer `layer` where its module is not there."""

    def add(layer_class: LayerClass) -> LayerClass:
        _stand_ins[module, layer] = layer_class
        return layer_class

    return add


def stand_ins() -> dict[tuple[str, str], type[Layer]]:
    """The classes that stand in for (module, layer), of the modules that are imported."""
    return dict(_stand_ins)


_host: ContextVar[type[Layer] | None] = ContextVar("the class of Python layers", default=None)


@contextmanager
def python_layers_are(layer_class: type[Layer]) -> Iterator[None]:
    """Within this block, and in this thread, every layer of type Python is a `layer_class`."""
    token = _host.set(layer_class)
    try:
        yield
    finally:
        _host.reset(token)


def stand_in(param: Any, folder: Path | None) -> type[Layer] | None:
    """What takes the place of a Python layer whose module is not there, or of all; None where nothing does."""
    if _host.get() is not None:
        return _host.get()
    field = param.python_param
    if module_is_here(field.module, folder) and not python_is_off():
        return None
    return _stand_ins.get((field.module, field.layer), None if param.bottom else AbsentData)


class AbsentData(SourceLayer):
    """A Python layer without bottoms whose module is not there: the user gives the shapes and the values."""

    tops: ClassVar[Count] = Count(0)
    fed: ClassVar[bool] = True

    @classmethod
    def shortcoming(cls, param: Any) -> str:
        module = param.python_param.module
        if python_is_off():
            return f"Python module '{module}' is not imported (--no-python, {NO_PYTHON}); give the values"
        return f"there is no Python module '{module}'; put it beside the net, or give the values"

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shapes = ", ".join(f"--input {top}=SHAPE" for top in self.param.top)
        why = self.shortcoming(self.param).removesuffix("give the values")
        raise MissingDataError(f"layer '{self.name}': {why}give the shapes of what it makes: {shapes}")
