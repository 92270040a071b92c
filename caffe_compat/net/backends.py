"""Runtimes in which a prepared net may run; the module that brings one is imported when it is first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from caffe_compat.errors import GraphError
from caffe_compat.showing import nearest

if TYPE_CHECKING:
    from caffe_compat.net.net import Net

Run = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
TOLERANCE = 1e-4  # of the largest value of a blob; both sum in float32, in other orders
_HOMES = dict.fromkeys(("openvino", "onnxruntime"), "caffe_compat.export.runtimes.backend")
BACKENDS = tuple(_HOMES)


def refuse_unknown(backend: str) -> None:
    """GraphError for a backend that is none of BACKENDS, DataError with the extra to install where it is not here."""
    if backend not in _HOMES:
        raise GraphError(f"backend '{backend}' is not known; {nearest(backend, BACKENDS, 'there are')}")
    importlib.import_module(_HOMES[backend]).refuse_absent(backend)


def compiled(backend: str, net: Net, names: Sequence[str], values: Mapping[str, Tensor]) -> Run:
    """What gives the blobs `names` of `net` for inputs of the shapes of `values`, its weights as they are now.

    UnsupportedLayerError where the net cannot be written for it.
    """
    run: Run = importlib.import_module(_HOMES[backend]).compiled(backend, net, names, values)
    return run
