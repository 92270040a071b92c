"""The registry of regularizers: name -> a function that adds to the gradients in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from torch import Tensor

from caffe_compat import plugins
from caffe_compat.errors import PluginError, SolverError


class Regularizer(Protocol):
    """Adds its own gradient to `gradients`, strength by parameter; weights are read only."""

    def __call__(
        self, weights: list[Tensor], gradients: list[Tensor], strengths: Sequence[float], **settings: Any
    ) -> None: ...


Method = TypeVar("Method", bound=Callable[..., None])

CAFFES = ("L2", "L1")  # regularization_type of Caffe
_decays: list[str] = []
_methods: dict[str, Callable[..., None]] = {}


def register(name: str) -> Callable[[Method], Method]:
    """Decorator: make the function the regularizer `name`.

    PluginError where another function has that name; the same one, defined anew, takes its own place.
    """

    def add(method: Method) -> Method:
        homes = [f"{each.__module__}.{each.__qualname__}" for each in (_methods.get(name, method), method)]
        if homes[0] != homes[1]:
            raise PluginError(f"regularizer '{name}' is registered twice: as {homes[0]} and as {homes[1]}; rename one")
        _methods[name] = method
        return method

    return add


def register_regularizer(name: str) -> Callable[[Method], Method]:
    """Decorator: make the function what a solver's `regularization_type: "NAME"` stands for.

    It is called once an update as method(weights, gradients, strengths): lists of float32 tensors and of numbers, one a
    learnable parameter, a strength being weight_decay * decay_mult. It adds to each gradient in place and reads weights
    only. PluginError where another function has that name.
    """
    register_method = register(name)

    def add(method: Method) -> Method:
        found = register_method(method)
        _decays.append(name)
        return found

    return add


def decays() -> tuple[str, ...]:
    """What regularization_type may name: Caffe's two, and those that plugins add, imported or not."""
    return tuple(dict.fromkeys((*CAFFES, *_decays, *plugins.installed(plugins.REGULARIZERS))))


def regularizer(name: str) -> Callable[..., None]:
    """The regularizer called `name`, its plugin imported now if need be; SolverError lists the known ones."""
    if name not in _methods and plugins.load(plugins.REGULARIZERS, name) is None:
        raise SolverError(f"regularizer '{name}' is not known; known: {', '.join(sorted(_methods))}")
    if name not in _methods:
        raise PluginError(f"plugin '{name}': its module registers no regularizer of that name")
    return _methods[name]
