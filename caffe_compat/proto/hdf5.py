"""Caffe's HDF5 files: weights in /data/<layer>/<i>, a solver's state in /iter, /history and so on.

Written as Caffe writes them (Net::ToHDF5, SGDSolver::SnapshotSolverStateToHDF5): a group for every layer, a blob that
layers share only with the layer that owns it. Read with care: links out of the file, and data sets that say they hold
far more than the file does, are refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from caffe_compat.errors import ParseError, WeightsError
from caffe_compat.proto.binary import STATE_AS_WEIGHTS, SolverStateFile
from caffe_compat.proto.blobs import Weights
from caffe_compat.proto.forms import BlobForm, Forms, form_with_diff
from caffe_compat.proto.hdf5_image import new_hdf5
from caffe_compat.proto.hdf5_safety import Allowance, open_hdf5
from caffe_compat.proto.reading import open_file

_DEEPEST = 32
_MOST_OBJECTS = 1_000_000
# Weights, which are noise, shrink hardly at all.
_MOST_EXPANSION = 64
_SMALL = 1 << 20


def is_hdf5(path: str | os.PathLike[str]) -> bool:
    """Whether the file at `path` is HDF5, by its content as in Caffe."""
    try:
        open_file(path).close()  # the library itself would wait for a FIFO
    except OSError:
        return False
    return bool(h5py.is_hdf5(os.fspath(path)))


def read_weights(path: str | os.PathLike[str], net: Any = None) -> Weights:
    """The weights in a .caffemodel.h5. A layer name with '/' is a path of groups.

    The file keeps a shared blob with its owner only: with `net` the other layers get it too, without it they have fewer
    blobs, or none. Raises ParseError.
    """
    return read_weights_and_forms(path, net)[0]


def read_weights_and_forms(path: str | os.PathLike[str], net: Any = None) -> tuple[Weights, Forms]:
    """The weights, and the form of each blob that has a diff in the file (snapshot_diff)."""
    with open_hdf5(path, ParseError) as file:
        data = _child(file, "data", path)
        if data is None and isinstance(_child(file, "history", path), h5py.Group):
            raise ParseError(f"{path}: {STATE_AS_WEIGHTS}")
        if not isinstance(data, h5py.Group):
            raise ParseError(f"{path}: the file has no group /data, so that it is no weights that Caffe wrote")
        found, diffs = _Layers(path), _Layers(path)
        found.visit(data, "", 0)
        diff = _child(file, "diff", path)
        if isinstance(diff, h5py.Group):
            diffs.visit(diff, "", 0)
    for users in _users_by_name(net).values() if net is not None else ():
        held = [found.blobs[layer][index] for layer, index in users if index in found.blobs.get(layer, {})]
        for layer, index in users if held else ():  # of the phase that wrote the file, the first one owns it
            found.blobs.setdefault(layer, {}).setdefault(index, held[0])
    weights = {layer: _in_order(blobs, layer, path) for layer, blobs in found.blobs.items()}
    with_diffs = weights.keys() & diffs.blobs.keys()
    return weights, {layer: _forms(weights[layer], diffs.blobs[layer]) for layer in with_diffs}


def _forms(blobs: tuple[np.ndarray, ...], diffs: Mapping[int, np.ndarray]) -> tuple[BlobForm | None, ...]:
    fits = [i in diffs and diffs[i].shape == blob.shape for i, blob in enumerate(blobs)]
    return tuple(form_with_diff(diffs[i].astype(blob.dtype)) if fit else None
                 for i, (blob, fit) in enumerate(zip(blobs, fits, strict=True)))  # fmt: skip


def write_weights(
    path: str | os.PathLike[str],
    weights: Mapping[str, tuple[np.ndarray, ...]],
    net: Any = None,
    forms: Mapping[str, tuple[BlobForm | None, ...]] | None = None,
) -> None:
    """Write a .caffemodel.h5, whole or not at all: a group for each layer of `net`, shared blobs once.

    Diffs that `forms` has go into /diff, as with snapshot_diff; a blob without one has zeros there.
    Raises WeightsError where a layer name is no name for a group, or two layers with weights have one name: real Caffe
    can neither write nor read such a file.
    """
    names = _group_names(path, weights, net)
    unknown = sorted(set(weights) - set(names))
    if unknown:
        raise WeightsError(f"{path}: weights for layer '{unknown[0]}', which the net lacks; add the layer or drop them")
    shared = shared_blobs(net) if net is not None else {}
    diffs = {name: tuple(form.diff() if form else None for form in each) for name, each in (forms or {}).items()}
    with new_hdf5(path) as file:
        data = file.create_group("data")
        if any(diff is not None for each in diffs.values() for diff in each):
            _write_diffs(file.create_group("diff"), names, weights, diffs)
        for name in names:
            group = data.create_group(name)
            for i, array in enumerate(weights.get(name, ())):
                owner, place = shared.get((name, i), (name, i))
                if (owner, place) == (name, i) or not _holds(weights, owner, place, array):
                    group.create_dataset(str(i), data=np.asarray(array))


def _group_names(path: str | os.PathLike[str], weights: Mapping[str, Any], net: Any) -> list[str]:
    """The names of the groups to write, in the net's order."""
    layers = [layer.name for layer in net.layer] if net is not None else list(weights)
    for name in [*layers, *weights]:
        if not is_group_name(name):
            raise WeightsError(
                f"{path}: layer '{name}' cannot go into HDF5, where '/' parts groups; write a .caffemodel, which "
                "takes any name, or rename the layers (caffe-compat convert --rename-slash _)"
            )
        if name in weights and layers.count(name) > 1:
            raise WeightsError(
                f"{path}: two layers are named '{name}', HDF5 has one group a name; write a .caffemodel, or rename "
                "one (caffe-compat convert --rename-duplicates)"
            )
    return list(dict.fromkeys(layers))


def is_group_name(name: str) -> bool:
    """Whether a group of an HDF5 file can have this name of a layer."""
    return "/" not in name and "\0" not in name and name not in ("", ".")


def _write_diffs(
    group: h5py.Group,
    names: list[str],
    weights: Mapping[str, tuple[np.ndarray, ...]],
    diffs: Mapping[str, tuple[np.ndarray | None, ...]],
) -> None:
    """A group for each layer; of shared blobs each layer has the diff (Net::ToHDF5)."""
    for name in names:
        layer = group.create_group(name)
        for i, array in enumerate(weights.get(name, ())):
            known = diffs.get(name, ())
            diff = known[i] if i < len(known) else None
            layer.create_dataset(str(i), data=np.zeros_like(array) if diff is None else diff.reshape(array.shape))


def read_solver_state(path: str | os.PathLike[str]) -> SolverStateFile:
    """The state in a .solverstate.h5. Raises ParseError, also where the file holds weights."""
    with open_hdf5(path, ParseError) as file:
        history = _child(file, "history", path)
        if not isinstance(history, h5py.Group):
            raise ParseError(f"{path}: the file has no group /history, so that it is no solver's state")
        blobs, allowance = {}, Allowance(path, _MOST_EXPANSION)
        for name in history:
            blob = _child(history, name, path)
            if not name.isdigit() or not isinstance(blob, h5py.Dataset):
                raise ParseError(f"{path}: /history/{name} is not a blob of a solver's history")
            blobs[int(name)] = _array(blob, path, allowance)
        learned_net = _scalar(file, "learned_net", path)
        return SolverStateFile(
            iteration=int(_scalar(file, "iter", path)),
            learned_net=learned_net.decode() if isinstance(learned_net, bytes) else str(learned_net),
            history=_in_order(blobs, "history", path),
            current_step=int(_scalar(file, "current_step", path)),
        )


def write_solver_state(path: str | os.PathLike[str], state: SolverStateFile) -> None:
    """Write a .solverstate.h5, whole or not at all."""
    with new_hdf5(path) as file:
        file.create_dataset("iter", data=np.array([state.iteration], np.int32))
        _write_string(file, b"learned_net", state.learned_net.encode())
        file.create_dataset("current_step", data=np.array([state.current_step], np.int32))
        history = file.create_group("history")
        for i, array in enumerate(state.history):
            history.create_dataset(str(i), data=np.asarray(array))


def shared_blobs(net: Any) -> dict[tuple[str, int], tuple[str, int]]:
    """(layer, index) -> (owner, index) for each blob of `net` that belongs to an earlier layer by its `param` name."""
    return {user: users[0] for users in _users_by_name(net).values() for user in users if user != users[0]}


def _users_by_name(net: Any) -> dict[str, list[tuple[str, int]]]:
    """(layer, index) of each blob whose `param` has a name, by that name, in the order of the layers."""
    found: dict[str, list[tuple[str, int]]] = {}
    for layer in net.layer:
        for i, param in enumerate(layer.param):
            if param.name:
                found.setdefault(param.name, []).append((layer.name, i))
    return found


def _holds(weights: Mapping[str, tuple[np.ndarray, ...]], owner: str, place: int, array: np.ndarray) -> bool:
    """Whether the owner's blob has the values of `array`, whose own copy can then be left out."""
    blobs = weights.get(owner, ())
    return place < len(blobs) and (blobs[place] is array or np.array_equal(blobs[place].ravel(), np.ravel(array)))


def _in_order(blobs: dict[int, np.ndarray], layer: str, path: str | os.PathLike[str]) -> tuple[np.ndarray, ...]:
    """Blobs by their index. Raises ParseError where one before the last is missing."""
    for i in range(len(blobs)):
        if i not in blobs:
            raise ParseError(
                f"{path}: '{layer}' has no blob {i}, but blob {max(blobs)}; if it is shared, read the file with its net"
            )
    return tuple(blobs[i] for i in range(len(blobs)))


class _Layers:
    """The blobs below a group: a layer is a group with data sets named 0, 1, ..., its name the path to it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self.blobs: dict[str, dict[int, np.ndarray]] = {}
        self._objects = 0
        self._allowance = Allowance(path, _MOST_EXPANSION)

    def visit(self, group: h5py.Group, name: str, depth: int) -> None:
        """Note the blobs of `group`, whose path is `name`, and of the groups inside it."""
        if depth > _DEEPEST:
            raise ParseError(f"{self.path}: more than {_DEEPEST} groups lie in one another; no layer has such a name")
        for key in group:
            self._objects += 1
            if self._objects > _MOST_OBJECTS:
                raise ParseError(f"{self.path}: more than {_MOST_OBJECTS} objects; this is no file of Caffe's")
            child = _child(group, key, self.path)
            if isinstance(child, h5py.Group):
                self.visit(child, f"{name}/{key}" if name else key, depth + 1)
            elif key.isdigit() and name and child is not None:
                self.blobs.setdefault(name, {})[int(key)] = _array(child, self.path, self._allowance)
            else:
                raise ParseError(f"{self.path}: {group.name}/{key} is not a blob: blobs are named 0, 1, ... in a layer")


def _child(group: h5py.Group, name: str, path: str | os.PathLike[str]) -> Any:
    """The group or data set `name`, None if it is not there; a link that may lead out of the file is refused."""
    link = group.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise ParseError(f"{path}: {group.name}/{name} is a link to elsewhere, which no file of Caffe's has")
    child = group[name]
    if not isinstance(child, h5py.Group | h5py.Dataset):
        raise ParseError(f"{path}: {group.name}/{name} is neither a group nor a data set; the file is damaged")
    return child


def _array(dataset: Any, path: str | os.PathLike[str], allowance: Allowance) -> np.ndarray:
    """The values of a data set: float64 as it is, else float32."""
    problem = allowance.problem(dataset)
    if problem:
        raise ParseError(f"{path}: {dataset.name} {problem}")
    return np.asarray(dataset[()], np.float64 if dataset.dtype == np.float64 else np.float32)


def _scalar(file: h5py.File, name: str, path: str | os.PathLike[str]) -> Any:
    dataset = _child(file, name, path)
    if not isinstance(dataset, h5py.Dataset) or dataset.shape not in ((), (1,)) or dataset.nbytes > _SMALL:
        raise ParseError(f"{path}: /{name} is missing or no single value; this is no solver's state that Caffe wrote")
    value = dataset[()]
    return value if isinstance(value, bytes | str) else value.reshape(-1)[0]


def _write_string(file: h5py.File, name: bytes, value: bytes) -> None:
    """A string as Caffe reads it: one value of fixed size, ended by a zero byte, which h5py by itself leaves out."""
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(len(value) + 1)
    kind.set_strpad(h5py.h5t.STR_NULLTERM)
    dataset = h5py.h5d.create(file.id, name, kind, h5py.h5s.create(h5py.h5s.SCALAR))
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array(value, f"S{len(value) + 1}"), kind)
