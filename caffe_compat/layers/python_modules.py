"""Where the modules of Python layers are, and what takes the place of those that are not there."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from caffe_compat.errors import DataError
from caffe_compat.layers.base import Count, Layer, Shape
from caffe_compat.layers.source import SourceLayer


def module_is_here(module: str, folder: Path | None) -> bool:
    """Whether Python module `module` is in `folder`, the working directory or sys.path; it is not imported."""
    path = Path(*module.split("."))
    places = (folder or Path(), Path())
    if any((place / path.with_suffix(".py")).exists() or (place / path).is_dir() for place in places):
        return True
    try:
        return importlib.util.find_spec(module.split(".")[0]) is not None
    except (ImportError, ValueError):
        return False


_stand_ins: dict[tuple[str, str], type[Layer]] = {}
LayerClass = TypeVar("LayerClass", bound=type[Layer])


def stands_in(module: str, layer: str) -> Callable[[LayerClass], LayerClass]:
    """Class decorator: the class that takes the place of Python layer `layer` where its module is not there."""

    def add(layer_class: LayerClass) -> LayerClass:
        _stand_ins[module, layer] = layer_class
        return layer_class

    return add


def stand_in(param: Any, folder: Path | None) -> type[Layer] | None:
    """What takes the place of a Python layer whose module is not there; None where it is, or nothing can."""
    field = param.python_param
    if module_is_here(field.module, folder):
        return None
    return _stand_ins.get((field.module, field.layer), None if param.bottom else AbsentData)


class AbsentData(SourceLayer):
    """A Python layer without bottoms whose module is not there: the user gives the shapes and the values."""

    tops: ClassVar[Count] = Count(0)
    fed: ClassVar[bool] = True

    @classmethod
    def shortcoming(cls, param: Any) -> str:
        return f"there is no Python module '{param.python_param.module}'; put it beside the net, or give the values"

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shapes = ", ".join(f"--input {top}=SHAPE" for top in self.param.top)
        raise DataError(
            f"layer '{self.name}': there is no Python module '{self.param.python_param.module}'; put it beside the "
            f"net, or give the shapes of what it makes: {shapes}"
        )
