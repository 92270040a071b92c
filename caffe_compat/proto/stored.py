"""The arrays of any file of them, for comparing two: weights, a solver's history, a mean, NumPy's files, HDF5 data."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from caffe_compat.errors import ParseError
from caffe_compat.proto import binary, hdf5, tensors
from caffe_compat.proto.arrays import read_npy, read_npz
from caffe_compat.proto.blobs import Weights
from caffe_compat.proto.hdf5_safety import Allowance, open_hdf5
from caffe_compat.proto.model import read_weights
from caffe_compat.proto.outline import outline

PathLike = str | os.PathLike[str]


def stored_arrays(path: PathLike) -> tuple[str, Weights]:
    """What a file holds, in words, and its arrays by name: those of weights by layer, of a state as 'history'.

    Files whose words are the same may be compared. A mean or another single array comes without first axes of size 1,
    which some of its formats have. Raises ParseError where the file is none of these, or damaged.
    """
    kind = outline(path).kind
    word, read = next((each for begin, each in _KINDS.items() if kind.startswith(begin)), ("", None))
    if read is None:
        raise ParseError(f"{path}: is {kind}; a file of weights, of a solver's state, or of arrays is wanted")
    return word, read(path)


def _history(path: PathLike) -> Weights:
    state = hdf5.read_solver_state(path) if hdf5.is_hdf5(path) else binary.read_solver_state(path)
    return {"history": tuple(state.history)}


def _single(array: np.ndarray) -> Weights:
    axes = next((axis for axis, size in enumerate(array.shape) if size != 1), array.ndim)
    return {"array": (array.reshape(array.shape[axes:]),)}


def _by_name(path: PathLike) -> Weights:
    return {name: (array,) for name, array in read_npz(path, ParseError).items()}


def _data_sets(path: PathLike) -> Weights:
    """The data sets of numbers."""
    found: Weights = {}
    with open_hdf5(path, ParseError) as file:
        allowance = Allowance(path)
        for row in outline(path).blobs:
            name = row.owner if row.owner in file else f"{row.owner}/{row.index}"
            if file[name].dtype.kind not in "fiu":
                continue
            if problem := allowance.problem(file[name]):
                raise ParseError(f"{path}: data set '{name}' {problem}")
            found[name] = (np.asarray(file[name][()]),)
    return found


def _tensors(path: PathLike) -> Weights:
    values = {each.name: each.read(path) for each in tensors.stored_tensors(path)[1]}
    return {name: (array,) for name, array in values.items() if array is not None}


_WEIGHTS, _ARRAYS = "weights", "arrays by name"
_KINDS: dict[str, tuple[str, Callable[[PathLike], Weights]]] = {
    "caffemodel": (_WEIGHTS, read_weights),
    "safetensors: weights": (_WEIGHTS, read_weights),
    "solverstate": ("a solver's state", _history),
    "binaryproto": ("one array", lambda path: _single(binary.read_blob(path))),
    "npy": ("one array", lambda path: _single(read_npy(path, ParseError))),
    "npz": (_ARRAYS, _by_name),
    "HDF5": (_ARRAYS, _data_sets),
    "safetensors": (_ARRAYS, _tensors),
}
