"""What layers of a net would do beside computing: run Python code, write files. Nothing here does it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from caffe_compat.errors import UnsupportedLayerError
from caffe_compat.layers.base import Layer
from caffe_compat.layers.caffe.hdf5_output import HDF5Output
from caffe_compat.layers.caffe.python_layer import PythonLayer
from caffe_compat.layers.python_modules import module_place
from caffe_compat.proto.files import leads_outside


def deeds(param: Any, kind: type[Layer], folder: Path | None) -> Iterator[tuple[str, str]]:
    """(kind of finding, message) of what a layer of class `kind` whose net lies in `folder` would do."""
    if kind is PythonLayer:
        file = module_place(param.python_param.module, folder)
        if file:
            name = param.python_param.layer
            yield "code", f"layer '{param.name}' runs Python code: class '{name}' of {file}; --no-python refuses it"
    elif kind is HDF5Output:
        file = param.hdf5_output_param.file_name
        where = ", outside the working folder" if leads_outside(file.replace("\0", "")) else ""
        yield "writes", f"layer '{param.name}' writes to '{file}'{where}"


def find_module(param: Any, folder: Path | None) -> None:
    """UnsupportedLayerError where the module of a Python layer is not there; it is not imported."""
    name = param.python_param.module
    if not module_place(name, folder):
        raise UnsupportedLayerError(f"layer '{param.name}': there is no Python module '{name}'; put it beside the net")
