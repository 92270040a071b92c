"""Weights and solver states from one container to the other: .caffemodel and .caffemodel.h5, .solverstate and its .h5.

HDF5 keeps a layer's blobs in a group of its name and no net. So a name must not have a '/', no two layers may have one
name, and the way back asks for the net.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from caffe_compat.errors import ParseError, WeightsError
from caffe_compat.proto import binary, hdf5, tensors
from caffe_compat.proto.kinds import check_binary
from caffe_compat.proto.model import Model, read_net
from caffe_compat.proto.names import free_of_slash, make_names_unique, renamed

PathLike = str | os.PathLike[str]


def convert_weights(
    source: PathLike,
    target: PathLike,
    net: PathLike | None = None,
    slash: str | None = None,
    rename_duplicates: bool = False,
    plain: bool = False,
) -> Model:
    """Write the weights in `source` to `target`: HDF5 where that ends in .h5, safetensors where in .safetensors, else a
    .caffemodel; gives what it wrote.

    net: a prototxt or .caffemodel with the layers; by default the net in `source`. slash: what stands for '/' in the
    layer names of an HDF5 file; the net that is given back has the names of `target`. rename_duplicates: the second
    layer 'a' becomes 'a_2'. plain: float32 without diffs, as any Caffe reads it, where a fork stored half precision.
    Raises ParseError, and WeightsError where HDF5 cannot hold a name.
    """
    to_hdf5 = os.fspath(target).endswith(".h5")
    if os.fspath(source).endswith(tensors.SUFFIX):
        model = _from_safetensors(source, net, rename_duplicates)
    elif hdf5.is_hdf5(source):
        model = _from_hdf5(source, net, slash, rename_duplicates)
    else:
        model = _from_binary(source, net, rename_duplicates)
    if to_hdf5:
        model = _without_slash(model, slash, target)
    if plain:
        weights = {name: tuple(np.asarray(blob, np.float32) for blob in each) for name, each in model.weights.items()}
        model = Model(model.net, weights)
    if to_hdf5:
        hdf5.write_weights(target, model.weights, model.net, model.forms)
    elif os.fspath(target).endswith(tensors.SUFFIX):
        tensors.write_safetensors(target, model.net, model.weights)
    else:
        binary.write_net(target, model.net, model.weights, model.forms)
    return model


def convert_state(source: PathLike, target: PathLike) -> None:
    """Write the solver's state in `source` to `target`: HDF5 where that ends in .h5, else a .solverstate."""
    state = hdf5.read_solver_state(source) if hdf5.is_hdf5(source) else binary.read_solver_state(source)
    write = hdf5.write_solver_state if os.fspath(target).endswith(".h5") else binary.write_solver_state
    write(target, state)


def _from_binary(source: PathLike, net: PathLike | None, rename_duplicates: bool) -> Model:
    check_binary(source)
    own = Model(*binary.read_net_and_forms(source, rename_duplicates))
    if net is None:
        return own
    given = _net(net, rename_duplicates)
    names = {layer.name for layer in given.layer}
    weights = {name: blobs for name, blobs in own.weights.items() if name in names}
    _check_any(source, net, own.weights, weights)
    return Model(given, weights, {name: form for name, form in own.forms.items() if name in names})


def _from_safetensors(source: PathLike, net: PathLike | None, rename_duplicates: bool) -> Model:
    """The weights, with the net that the file has in its metadata, or with that of `net`."""
    stored, found = tensors.read_safetensors(source)
    if net is None and stored is None:
        raise ParseError(f"{source}: has no net in its metadata; give --net, a prototxt or caffemodel")
    given = stored if net is None else _net(net, rename_duplicates)
    names = {layer.name for layer in given.layer}
    weights = {name: blobs for name, blobs in found.items() if name in names}
    _check_any(source, net or source, found, weights)
    return Model(given, weights)


def _from_hdf5(source: PathLike, net: PathLike | None, slash: str | None, rename_duplicates: bool) -> Model:
    """The weights by the names of the net, which the file may have with `slash` in place of '/'."""
    if net is None:
        raise ParseError(f"{source}: HDF5 holds weights without their net; give --net, a prototxt or caffemodel")
    own = _net(net, rename_duplicates)
    stored = renamed(own, free_of_slash(own, slash)) if slash is not None else own
    names = {theirs.name: ours.name for theirs, ours in zip(stored.layer, own.layer, strict=True)}
    found, forms = hdf5.read_weights_and_forms(source, stored)
    weights = {names[name]: blobs for name, blobs in found.items() if name in names}
    _check_any(source, net, found, weights)
    return Model(own, weights, {names[name]: form for name, form in forms.items() if name in names})


def _net(path: PathLike, rename_duplicates: bool) -> Any:
    net = read_net(path)
    if rename_duplicates:
        make_names_unique(net.layer)
    return net


def _check_any(source: PathLike, net: PathLike, found: Mapping[str, Any], used: Mapping[str, Any]) -> None:
    if found and not used:
        raise WeightsError(
            f"{source}: has no weights for any layer of {net}: the first is '{next(iter(found))}'; give its own net, "
            "and --rename-slash where names were changed for HDF5"
        )


def _without_slash(model: Model, slash: str | None, target: PathLike) -> Model:
    """`model` with layer names that HDF5 can hold, as far as `slash` says how to make them."""
    if slash is None:
        return model
    names = free_of_slash(model.net, slash, os.fspath(target))
    weights = {names[name]: blobs for name, blobs in model.weights.items()}
    forms = {names[name]: form for name, form in model.forms.items()}
    return Model(renamed(model.net, names), weights, forms)
