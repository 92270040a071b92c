"""The registry of regularizers: name -> a function that adds to the gradients in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from torch import Tensor

from caffe_compat.errors import SolverError


class Regularizer(Protocol):
    """Adds its own gradient to `gradients`, strength by parameter; weights are read only."""

    def __call__(
        self, weights: list[Tensor], gradients: list[Tensor], strengths: Sequence[float], **settings: Any
    ) -> None: ...


Method = TypeVar("Method", bound=Callable[..., None])

_methods: dict[str, Callable[..., None]] = {}


def register(name: str) -> Callable[[Method], Method]:
    """Decorator: make the function the regularizer `name`."""

    def add(method: Method) -> Method:
        if name in _methods:
            raise ValueError(f"regularizer '{name}' is registered twice")
        _methods[name] = method
        return method

    return add


def regularizer(name: str) -> Callable[..., None]:
    """The regularizer called `name`; SolverError lists the known ones."""
    if name not in _methods:
        raise SolverError(f"regularizer '{name}' is not known; known: {', '.join(sorted(_methods))}")
    return _methods[name]
