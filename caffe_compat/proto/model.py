"""Model: what a Caffe user has on disk, a net and its weights, read whatever its age and form, and written back."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Protocol

from caffe_compat.errors import ParseError
from caffe_compat.progress import doing
from caffe_compat.proto import binary, hdf5, tensors
from caffe_compat.proto.blobs import Weights
from caffe_compat.proto.files import all_or_none, write_atomically
from caffe_compat.proto.forms import Forms
from caffe_compat.proto.kinds import PathLike, check_binary, is_binary, refuse_exchanged, weight_paths
from caffe_compat.proto.pixels import Pixels, read_pixels
from caffe_compat.proto.reading import decoded, head_or_nothing, read_bytes
from caffe_compat.proto.recognition import EMPTY
from caffe_compat.proto.schema import NetParameter, SolverParameter
from caffe_compat.proto.text import format_text, read_text
from caffe_compat.proto.upgrade import upgrade_net, upgrade_solver
from caffe_compat.showing import visible

__all__ = [
    "Model", "ModelLike", "Weights", "as_model", "is_binary", "model_text", "read_model", "read_net", "read_solver",
    "read_weights", "weights_in", "write_model",
]  # fmt: skip

logger = logging.getLogger(__name__)

_NO_LAYERS = "the net has no layers; is this the right file?"


@dataclass(frozen=True)
class Model:
    """A current NetParameter without blobs, and its weights by layer name, in Caffe's order and shapes. Read-only.

    forms: what the files say of the blobs beside that, such as half precision, kept for `write_model`. files: those
    that it was read with for its weights, `ignored` the layers in them that the net lacks. pixels: what images went
    through before they became a blob, of data layers that are gone: comments of the prototxt keep it. folder: where the
    net's file lies, in which the files that the net names are sought too.
    """

    net: Any
    weights: Weights = field(default_factory=dict)
    forms: Forms = field(default_factory=dict)
    files: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    pixels: Mapping[str, Pixels] = field(default_factory=dict)
    folder: Path | None = None

    def __repr__(self) -> str:
        count = sum(blob.size for blobs in self.weights.values() for blob in blobs)
        held = f"{count:,} weights in {len(self.weights)} of them" if self.weights else "no weights"
        return f"Model('{visible(self.net.name)}': {len(self.net.layer)} layers, {held})"

    def _repr_html_(self) -> str:
        return f"<code>{escape(repr(self))}</code>"


class GivesModel(Protocol):
    """What stands for a Model because it gives one: a Net, a Solver."""

    def given_model(self) -> Model:
        """The net as it was given, for all phases, with the weights of now."""
        ...


ModelLike = Model | GivesModel | PathLike | tuple[PathLike, PathLike]
"""A Model, what gives one, the path of a prototxt or caffemodel, or the paths of a net and of its weights."""


def as_model(source: ModelLike) -> Model:
    """The Model that `source` is, gives, or names. TypeError for anything else."""
    if isinstance(source, Model):
        return source
    if isinstance(source, (str, os.PathLike)):
        return read_model(source)
    if isinstance(source, tuple) and len(source) == 2:
        return read_model(*source)
    if hasattr(source, "given_model"):
        return source.given_model()
    kind = type(source).__name__
    raise TypeError(f"wanted a Model, a Net, a Solver, a path, or the paths of a net and its weights; found {kind}")


def read_model(
    prototxt: str | os.PathLike[str], weights: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None
) -> Model:
    """The net in `prototxt` with the weights of one or several files (a sequence, or 'a.caffemodel,b.caffemodel').

    Weights go to the layer of their name, as in Caffe; of several files the last one with a layer counts. Weights that
    the net has no layer for are left out and logged. A .caffemodel as `prototxt` gives its own net and weights.
    """
    refuse_exchanged(prototxt, weights)
    net, found, forms = _read_binary(prototxt) if is_binary(prototxt) else (read_net(prototxt), {}, {})
    if not net.layer:
        raise ParseError(f"{prototxt}: {_NO_LAYERS if head_or_nothing(prototxt).strip() else EMPTY}")
    files = [*([prototxt] if found else []), *weight_paths(weights)]
    for path in weight_paths(weights):
        with doing(f"reading {os.fspath(path)}"):
            more, more_forms = _read_weights(path, net)
        found.update(more)
        forms = {name: each for name, each in forms.items() if name not in more} | more_forms
    names = {layer.name for layer in net.layer}
    for name in found:
        if name not in names:
            logger.info("Ignoring source layer %s", name)
    kept = {name: blobs for name, blobs in found.items() if name in names}
    ignored = tuple(name for name in found if name not in names)
    forms = {name: each for name, each in forms.items() if name in names}
    pixels = {} if is_binary(prototxt) else read_pixels(decoded(read_bytes(prototxt)))
    return Model(net, kept, forms, tuple(map(os.fspath, files)), ignored, pixels, Path(prototxt).parent)


def write_model(model: ModelLike, prototxt: PathLike, weights: PathLike | None = None) -> None:
    """Write the net as prototxt, and the weights, if `weights` is given: HDF5 where it ends in .h5, else .caffemodel.

    Both are written whole, or neither is. Raises WriteError, and WeightsError where HDF5 cannot hold a layer's name.
    """
    model = as_model(model)
    with all_or_none(), doing("writing the model"):
        if weights is not None and os.fspath(weights).endswith(".h5"):
            hdf5.write_weights(weights, model.weights, model.net, model.forms)
        elif weights is not None:
            binary.write_net(weights, model.net, model.weights, model.forms)
        with write_atomically(prototxt) as temporary:
            temporary.write_text(model_text(model), encoding="utf-8")


def model_text(model: ModelLike) -> str:
    """The net as prototxt, behind the comments that keep what its images went through."""
    model = as_model(model)
    comments = [pixels.comment(blob) for blob, pixels in model.pixels.items()]
    return "".join(f"{line}\n" for line in comments) + format_text(model.net)


def read_net(path: str | os.PathLike[str], compat: str = "bvlc") -> Any:
    """The net in a prototxt or caffemodel (told apart by content), made current, without blobs. Raises ParseError.

    compat: see `upgrade_net`; it concerns prototxt alone.
    """
    if is_binary(path):
        return _read_binary(path)[0]
    return upgrade_net(read_text(path, NetParameter), os.fspath(path), compat)


def read_weights(path: str | os.PathLike[str], net: Any = None) -> Weights:
    """The weights in a .caffemodel, .caffemodel.h5 or .safetensors (told apart by content) by layer name.

    HDF5 keeps a shared blob with its owner only; with `net` the layers that share it have it too. Raises ParseError,
    and DataError without the package safetensors.
    """
    return _read_weights(path, net)[0]


def weights_in(source: Mapping[str, Any] | ModelLike, net: Any = None) -> Mapping[str, Any]:
    """Blobs by layer name: `source` itself, those in the file at this path, as `read_weights`, or those of a Model."""
    if isinstance(source, Mapping):
        return source
    return read_weights(source, net) if isinstance(source, (str, os.PathLike)) else as_model(source).weights


def _read_weights(path: str | os.PathLike[str], net: Any) -> tuple[Weights, Forms]:
    if hdf5.is_hdf5(path):
        return hdf5.read_weights_and_forms(path, net)
    if tensors.is_safetensors(head_or_nothing(path)):
        return tensors.read_safetensors(path)[1], {}
    check_binary(path)
    return binary.read_net_and_forms(path)[1:]


def read_solver(path: str | os.PathLike[str], weights: Any = None) -> Any:
    """The solver in a prototxt, made current. Raises ParseError, which tells where `path` and `weights` are exchanged.

    As in Caffe (UpgradeSnapshotPrefixProperty), snapshot_prefix is the path without its suffix where it is not given,
    and where it names a folder, the file's own name in that folder.
    """
    refuse_exchanged(path, weights)
    if is_binary(path):
        raise ParseError(f"{path}: this is binary, not a solver; give the solver's prototxt")
    solver = upgrade_solver(read_text(path, SolverParameter), os.fspath(path))
    if not solver.HasField("snapshot_prefix"):
        solver.snapshot_prefix = str(Path(path).with_suffix(""))
    elif os.path.isdir(solver.snapshot_prefix):
        solver.snapshot_prefix = str(Path(solver.snapshot_prefix, Path(path).stem))
    return solver


def _read_binary(path: str | os.PathLike[str]) -> tuple[Any, Weights, Forms]:
    if hdf5.is_hdf5(path):
        raise ParseError(f"{path}: HDF5 holds weights without their net; give the prototxt too")
    if tensors.is_safetensors(head_or_nothing(path)):
        net, weights = tensors.read_safetensors(path)
        if net is None:
            raise ParseError(f"{path}: has weights and no net in its metadata; give the prototxt too")
        return net, weights, {}
    return binary.read_net_and_forms(path)
