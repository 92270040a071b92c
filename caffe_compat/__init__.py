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
    from caffe_compat.data.datasets import make_cifar10, make_mnist
    from caffe_compat.data.datum import encode_datum
    from caffe_compat.data.lmdb import write_lmdb
    from caffe_compat.decompose.cost import Comparison, Cost, compare_cost
    from caffe_compat.decompose.factorize import Factorization, factorize
    from caffe_compat.decompose.ranks import rank_by_energy, rank_by_norm, ranks_by_energy, ranks_by_norm
    from caffe_compat.decompose.rewrite import decompose
    from caffe_compat.net.net import Net
    from caffe_compat.proto.binary import read_blob, write_blob, write_net
    from caffe_compat.proto.model import Model, Weights, read_model, read_net, read_solver, read_weights, write_model
    from caffe_compat.proto.printer import format_text
    from caffe_compat.proto.text import parse_text
    from caffe_compat.solver.log import GlogHandler, JsonLinesLog
    from caffe_compat.solver.nets import output_weights
    from caffe_compat.solver.regularizers.force import force_gradient
    from caffe_compat.solver.solver import Solver

__version__ = "0.1.0"

_HOMES = {
    "Comparison": "decompose.cost",
    "Cost": "decompose.cost",
    "Factorization": "decompose.factorize",
    "GlogHandler": "solver.log",
    "JsonLinesLog": "solver.log",
    "Model": "proto.model",
    "Net": "net.net",
    "Solver": "solver.solver",
    "Weights": "proto.model",
    "compare_cost": "decompose.cost",
    "decompose": "decompose.rewrite",
    "encode_datum": "data.datum",
    "factorize": "decompose.factorize",
    "force_gradient": "solver.regularizers.force",
    "format_text": "proto.printer",
    "make_cifar10": "data.datasets",
    "make_mnist": "data.datasets",
    "output_weights": "solver.nets",
    "parse_text": "proto.text",
    "rank_by_energy": "decompose.ranks",
    "rank_by_norm": "decompose.ranks",
    "ranks_by_energy": "decompose.ranks",
    "ranks_by_norm": "decompose.ranks",
    "read_blob": "proto.binary",
    "read_model": "proto.model",
    "read_net": "proto.model",
    "read_solver": "proto.model",
    "read_weights": "proto.model",
    "write_blob": "proto.binary",
    "write_lmdb": "data.lmdb",
    "write_model": "proto.model",
    "write_net": "proto.binary",
}

__all__ = [
    "CaffeCompatError",
    "Comparison",
    "Cost",
    "DataError",
    "Factorization",
    "GlogHandler",
    "GraphError",
    "JsonLinesLog",
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
    "compare_cost",
    "decompose",
    "encode_datum",
    "factorize",
    "force_gradient",
    "format_text",
    "make_cifar10",
    "make_mnist",
    "output_weights",
    "parse_text",
    "rank_by_energy",
    "rank_by_norm",
    "ranks_by_energy",
    "ranks_by_norm",
    "read_blob",
    "read_model",
    "read_net",
    "read_solver",
    "read_weights",
    "write_blob",
    "write_lmdb",
    "write_model",
    "write_net",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# `decompose` is the function; importing the subpackage for the first time binds its name: do that now, and unbind it.
importlib.import_module(f"{__name__}.decompose")
del globals()["decompose"]
