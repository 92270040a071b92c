"""Snapshots as Caffe takes them: PREFIX_iter_N.caffemodel and PREFIX_iter_N.solverstate, and how a run resumes."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from caffe_compat.errors import CaffeCompatError, SolverError
from caffe_compat.net.net import Net
from caffe_compat.proto import binary, hdf5
from caffe_compat.proto.model import read_weights
from caffe_compat.solver.config import SolverConfig
from caffe_compat.solver.state import SolverState, load, read_state, to_file, write_state

logger = logging.getLogger(__name__)


def snapshot_paths(config: SolverConfig, iteration: int) -> tuple[Path, Path]:
    """Where the weights and the state of `iteration` go."""
    suffix = ".h5" if config.snapshot_hdf5 else ""
    stem = f"{config.snapshot_prefix}_iter_{iteration}"
    return Path(f"{stem}.caffemodel{suffix}"), Path(f"{stem}.solverstate{suffix}")


def check_writable(config: SolverConfig) -> None:
    """Find out before training starts that a snapshot could not be written; SolverError says why."""
    prefix = config.snapshot_prefix
    if not prefix:
        raise SolverError("snapshot_prefix is missing; give the path that snapshots start with")
    folder = Path(prefix).parent
    if not folder.is_dir():
        raise SolverError(f"snapshot_prefix is '{prefix}', but there is no folder '{folder}'; make it first")
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=f".{Path(prefix).name}."):
            pass
    except OSError as error:
        raise SolverError(
            f"snapshot_prefix is '{prefix}', but '{folder}' cannot be written: {error.strerror}"
        ) from None


def write_snapshot(config: SolverConfig, net: Net, state: SolverState) -> Path:
    """Write weights, then state; the path of the state. A file that stood there stays unless its heir is whole."""
    if not config.snapshot_prefix:
        raise SolverError("snapshot_prefix is missing; give the path that snapshots start with")
    weights_path, state_path = snapshot_paths(config, state.iteration)
    kind = "HDF5" if config.snapshot_hdf5 else "binary proto"
    model = net.model()
    try:
        logger.info("Snapshotting to %s file %s", kind, weights_path)
        if config.snapshot_hdf5:
            hdf5.write_weights(weights_path, model.weights, model.net)
        else:
            binary.write_net(weights_path, model.net, model.weights)
        logger.info("Snapshotting solver state to %s file %s", kind, state_path)
        write_state(state_path, to_file(state, str(weights_path)))
    except OSError as error:
        raise SolverError(
            f"iteration {state.iteration}: no snapshot could be written: {error}; earlier ones are whole, "
            "resume from the last once there is room"
        ) from None
    return state_path


def read_snapshot(path: str | os.PathLike[str], net: Net, state: SolverState, solver_type: str) -> None:
    """Resume: the weights that the state at `path` names, then the state; nothing changes where either does not fit."""
    path = Path(path)
    stored = read_state(path)
    weights = read_weights(_learned_net(stored.learned_net, path), net.param) if stored.learned_net else {}
    fresh = SolverState(state.iteration, state.current_step, [blob.clone() for blob in state.history])
    load(fresh, stored, path, solver_type)
    net.load_weights(weights)
    load(state, stored, path, solver_type)
    logger.info("SGDSolver: restoring history")


def load_weights(net: Net, paths: Iterable[str | os.PathLike[str]]) -> None:
    """Copy weights in by layer name, file after file, as `caffe train -weights a,b`."""
    for path in paths:
        logger.info("Finetuning from %s", path)
        try:
            report = net.load_weights(read_weights(path, net.param))
        except CaffeCompatError as error:
            raise type(error)(f"{path}: {error}" if str(path) not in str(error) else str(error)) from None
        for layer in report.ignored:
            logger.info("Ignoring source layer %s", layer)


def _learned_net(name: str, state_path: Path) -> Path:
    """The weights a state names: at the path it gives, else beside the state, where a moved run keeps them."""
    beside = state_path.parent / Path(name).name
    for place in (Path(name), beside):
        if place.is_file():
            return place
    raise SolverError(
        f"{state_path}: its weights '{name}' are neither there nor at '{beside}'; put them beside the solverstate"
    )
