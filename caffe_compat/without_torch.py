"""Names and shapes of nets without torch: what stands in its place where a command only reads a net.

Importing torch takes over a second, most of a command that prints a table. The layers' rules of shapes are of whole
numbers alone, so that their modules load, and set layers up, over tensors that have a shape and no values. What else is
asked of torch raises TorchNeeded: the caller begins anew with torch itself, and nothing is computed without it.
"""

from __future__ import annotations

import importlib.machinery
import math
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

_NAME = "torch"


class TorchNeeded(BaseException):
    """What was asked for has values, or runs others' code; no fault of the input, whose handlers let it pass."""


class Tensor:
    """A shape. What fills a tensor leaves it as it is; what gives another one, or values, needs torch."""

    requires_grad, is_meta = False, True

    def __init__(self, shape: Sequence[int] = ()) -> None:
        self.shape = tuple(shape)

    def numel(self) -> int:
        return math.prod(self.shape)

    def dim(self) -> int:
        return len(self.shape)

    def _itself(self, *_: Any, **__: Any) -> Tensor:
        return self

    requires_grad_ = detach = contiguous = fill_ = zero_ = uniform_ = normal_ = bernoulli_ = mul_ = copy_ = _itself

    def view(self, *shape: Any) -> Tensor:
        sizes = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        if -1 in sizes or math.prod(sizes) != self.numel():
            _need("view")
        return Tensor(sizes)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        _need(f"Tensor.{name}")


class Module:
    """What torch.nn.Module is to a layer that is set up: something with attributes."""

    training = True

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        setattr(self, name, tensor)

    def register_parameter(self, name: str, param: Tensor | None) -> None:
        setattr(self, name, param)


def _parameter(data: Tensor, requires_grad: bool = True) -> Tensor:
    return data


def _empty(*size: Any, **_: Any) -> Tensor:
    return Tensor(size[0] if len(size) == 1 and not isinstance(size[0], int) else size)


def _empty_like(tensor: Tensor, **_: Any) -> Tensor:
    return Tensor(tensor.shape)


def _from_numpy(array: Any) -> Tensor:
    return Tensor(array.shape)


class _Seed:
    """A draw that nobody looks at: data layers take their seeds so, and give no batch here."""

    def item(self) -> int:
        return 0


class _Mode:
    """no_grad() and the like, and device("meta"): a block, or a decorator that leaves its function as it is."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


class _Limits:
    """torch.finfo of float32, the one type that layers ask about."""

    max, min, tiny, eps = 3.4028234663852886e38, -3.4028234663852886e38, 1.1754943508222875e-38, 1.1920928955078125e-07

    def __init__(self, kind: _Named) -> None:
        if kind.name != "torch.float32":
            _need(f"finfo({kind.name})")


class _Named:
    """Something of torch that may be named, kept and derived from, but not used."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, name: str) -> Any:
        return _within(self.name, name)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (object,)

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        _need(self.name)


_GIVEN: dict[str, Any] = {
    "torch.Tensor": Tensor,
    "torch.nn.Module": Module,
    "torch.nn.Parameter": _parameter,
    "torch.nn.ParameterList": list,
    "torch.empty": _empty,
    "torch.zeros": _empty,
    "torch.ones": _empty,
    "torch.empty_like": _empty_like,
    "torch.from_numpy": _from_numpy,
    "torch.randint": lambda *_, **__: _Seed(),
    "torch.no_grad": _Mode,
    "torch.enable_grad": _Mode,
    "torch.inference_mode": _Mode,
    "torch.device": _Mode,
    "torch.finfo": _Limits,
    "torch.autograd.function.once_differentiable": lambda function: function,
}


def _within(whole: str, name: str) -> Any:
    """What stands in for `name` of `whole`, torch or a module of it."""
    if name.startswith("__"):
        raise AttributeError(name)
    full = f"{whole}.{name}"
    return _GIVEN[full] if full in _GIVEN else _Named(full)


def _need(what: str) -> NoReturn:
    raise TorchNeeded(what)


def need_torch() -> None:
    """TorchNeeded where something stands in for torch: before code of others is imported."""
    if is_standing_in():
        _need("code of others")


def is_standing_in() -> bool:
    """Whether what is imported as torch is what stands in for it here."""
    return isinstance(sys.modules.get(_NAME), _StandIn)


class _StandIn(types.ModuleType):
    """torch, or a module of it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        self.__version__ = "0"

    def __getattr__(self, name: str) -> Any:
        return _within(self.__name__, name)


class _Finder:
    """Finds torch and its modules before any other does, and is their loader; importlib.abc takes long to import."""

    def find_spec(
        self, fullname: str, path: Any = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] != _NAME:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


@contextmanager
def standing_in() -> Iterator[None]:
    """Within this block `import torch` gives names and shapes. The process imports no torch itself later."""
    if _NAME in sys.modules:
        raise RuntimeError("torch is imported already; what stands in for it comes too late")
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
