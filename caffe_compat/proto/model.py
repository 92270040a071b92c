"""Model: what a Caffe user has on disk, a net and its weights, read whatever its age and form, and written back."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caffe_compat.proto.blobs import Weights
from caffe_compat.proto.schema import NetParameter, SolverParameter
from caffe_compat.proto.text import read_text
from caffe_compat.proto.upgrade import upgrade_net, upgrade_solver

__all__ = ["Model", "Weights", "read_net", "read_solver"]


@dataclass(frozen=True)
class Model:
    """A current NetParameter without blobs, and its weights by layer name, in Caffe's order and shapes. Read-only."""

    net: Any
    weights: Weights = field(default_factory=dict)


def read_net(path: str | os.PathLike[str]) -> Any:
    """The net in a prototxt or caffemodel (told apart by content), made current. Raises ParseError."""
    return upgrade_net(read_text(path, NetParameter), os.fspath(path))


def read_solver(path: str | os.PathLike[str]) -> Any:
    """The solver in a prototxt, made current. Raises ParseError.

    As in Caffe (UpgradeSnapshotPrefixProperty), snapshot_prefix is the path without its suffix where it is not given,
    and where it names a folder, the file's own name in that folder.
    """
    solver = upgrade_solver(read_text(path, SolverParameter), os.fspath(path))
    if not solver.HasField("snapshot_prefix"):
        solver.snapshot_prefix = str(Path(path).with_suffix(""))
    elif Path(solver.snapshot_prefix).is_dir():
        solver.snapshot_prefix = str(Path(solver.snapshot_prefix, Path(path).stem))
    return solver
