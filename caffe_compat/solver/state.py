"""What changes while a solver runs, and its way to and from Caffe's .solverstate files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from caffe_compat.errors import SolverError
from caffe_compat.net.params import LearnableParam
from caffe_compat.net.weights import stored_type
from caffe_compat.proto import binary, hdf5
from caffe_compat.proto.binary import SolverStateFile
from caffe_compat.proto.reading import check_regular
from caffe_compat.solver.updates import UPDATES


@dataclass
class SolverState:
    """iteration: updates done so far. current_step: of lr_policy step and multistep.

    history: the solver's memory, one blob for each learnable parameter in its shape, in Caffe's order; AdaDelta and
    Adam have a second round after the first.
    """

    iteration: int
    current_step: int
    history: list[Tensor]


def new_state(params: Sequence[LearnableParam], solver_type: str) -> SolverState:
    """The state before the first iteration: no memory."""
    rounds = UPDATES[solver_type].histories
    return SolverState(0, 0, [torch.zeros_like(param.tensor, requires_grad=False) for param in list(params) * rounds])


def to_file(state: SolverState, learned_net: str) -> SolverStateFile:
    """The state as Caffe stores it; float32, or float64 in float64; `learned_net`: the path of its weights."""
    history = tuple(blob.detach().to("cpu", stored_type(blob)).contiguous().numpy() for blob in state.history)
    return SolverStateFile(state.iteration, learned_net, history, state.current_step)


def check_fit(state: SolverState, stored: SolverStateFile, path: Path, solver_type: str) -> None:
    """SolverError where what a file holds belongs to another net or solver type."""
    wanted = [tuple(blob.shape) for blob in state.history]
    if len(stored.history) != len(wanted):
        raise SolverError(
            f"{path}: {len(stored.history)} history blobs, but this net with type {solver_type} has {len(wanted)}; "
            "resume with the net and the solver type that wrote it"
        )
    for index, (blob, shape) in enumerate(zip(stored.history, wanted, strict=True)):
        if not _fits(blob.shape, shape):
            raise SolverError(
                f"{path}: history blob {index} is {tuple(blob.shape)}, but this net has {shape}; "
                "resume with the net that wrote it"
            )


def load(state: SolverState, stored: SolverStateFile) -> None:
    """Take over what a file holds, to the bit."""
    for target, blob in zip(state.history, stored.history, strict=True):
        values = torch.from_numpy(np.require(blob, requirements=["C", "W"]))
        target.copy_(values.reshape(target.shape))
    state.iteration, state.current_step = stored.iteration, stored.current_step


def read_state(path: str | os.PathLike[str]) -> SolverStateFile:
    """A .solverstate or .solverstate.h5, told apart by content."""
    if not os.path.exists(path):
        raise SolverError(f"{path}: no such file; give a .solverstate or .solverstate.h5")
    check_regular(path, SolverError)
    return hdf5.read_solver_state(path) if hdf5.is_hdf5(path) else binary.read_solver_state(path)


def write_state(path: Path, stored: SolverStateFile) -> None:
    """Write HDF5 where the name ends in .h5, else binary; whole or not at all."""
    (hdf5 if path.suffix == ".h5" else binary).write_solver_state(path, stored)


def _fits(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Equal, or equal after 1s in front, as files of old Caffe have them."""
    return tuple(found) == wanted or (len(found) == 4 and tuple(found) == (1,) * (4 - len(wanted)) + wanted)
