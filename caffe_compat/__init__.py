"""Read, run, train, shrink and write Caffe models in PyTorch, with Caffe's own numbers.

The names below are the whole public interface. Each is imported from its home when it is first used, so that
`import caffe_compat` stays fast where no torch is needed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from caffe_compat.errors import (
    CaffeCompatError,
    DataError,
    GraphError,
    ParseError,
    RankError,
    ShapeError,
    SolverError,
    UnsupportedLayerError,
    UnsupportedParameterError,
    WeightsError,
)

if TYPE_CHECKING:
    from caffe_compat.net.net import Net
    from caffe_compat.proto.model import Model, Weights, read_model, read_net, read_solver, read_weights, write_model
    from caffe_compat.solver.regularizers.force import force_gradient
    from caffe_compat.solver.solver import Solver

__version__ = "0.1.0"

_HOMES = {
    "Model": "proto.model",
    "Net": "net.net",
    "Solver": "solver.solver",
    "Weights": "proto.model",
    "force_gradient": "solver.regularizers.force",
    "read_model": "proto.model",
    "read_net": "proto.model",
    "read_solver": "proto.model",
    "read_weights": "proto.model",
    "write_model": "proto.model",
}

__all__ = [
    "CaffeCompatError",
    "DataError",
    "GraphError",
    "Model",
    "Net",
    "ParseError",
    "RankError",
    "ShapeError",
    "Solver",
    "SolverError",
    "UnsupportedLayerError",
    "UnsupportedParameterError",
    "Weights",
    "WeightsError",
    "force_gradient",
    "read_model",
    "read_net",
    "read_solver",
    "read_weights",
    "write_model",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
