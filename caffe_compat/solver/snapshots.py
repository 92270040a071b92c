"""Snapshots as Caffe takes them: PREFIX_iter_N.caffemodel and PREFIX_iter_N.solverstate, and how a run resumes."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from caffe_compat.errors import SolverError
from caffe_compat.net.loading import load_files
from caffe_compat.net.net import Net
from caffe_compat.proto import binary, hdf5
from caffe_compat.proto.binary import SolverStateFile
from caffe_compat.proto.files import leads_outside, write_atomically
from caffe_compat.proto.model import read_weights
from caffe_compat.solver import continuation, sidecar
from caffe_compat.solver.run_options import Options
from caffe_compat.solver.settings import SolverConfig
from caffe_compat.solver.smoothing import SmoothedLoss
from caffe_compat.solver.state import SolverState, check_fit, load, read_state, to_file, write_state

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)


def snapshot_paths(config: SolverConfig, name: str) -> tuple[Path, Path]:
    """Where the weights and the state of snapshot `name`, such as "iter_1000", go."""
    suffix = ".h5" if config.snapshot_hdf5 else ""
    stem = f"{config.snapshot_prefix}_{name}"
    return Path(f"{stem}.caffemodel{suffix}"), Path(f"{stem}.solverstate{suffix}")


def check_writable(config: SolverConfig) -> None:
    """Find out before training starts that a snapshot could not be written; SolverError says why."""
    prefix = config.snapshot_prefix
    if not prefix:
        raise SolverError("snapshot_prefix is missing; give the path that snapshots start with")
    folder = Path(prefix).parent
    if leads_outside(prefix):
        logger.info("Snapshots go to %s, outside the working folder", prefix)
    if not folder.is_dir():
        raise SolverError(f"snapshot_prefix is '{prefix}', but there is no folder '{folder}'; make it first")
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=f".{Path(prefix).name}."):
            pass
    except OSError as error:
        raise SolverError(
            f"snapshot_prefix is '{prefix}', but '{folder}' cannot be written: {error.strerror}"
        ) from None


@contextmanager
def prefix_reserved(config: SolverConfig) -> Iterator[None]:
    """Within this block, no other process can train into the same snapshot_prefix; SolverError where one does now.

    The lock is the kernel's: it goes with the process, however that ends.
    """
    prefix = Path(config.snapshot_prefix)
    if fcntl is None or not prefix.parent.is_dir():
        yield
        return
    path = prefix.with_name(f".{prefix.name}.lock")
    with path.open("a+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SolverError(
                f"another run is writing snapshots to '{prefix}' ({path} is locked); give this one another prefix"
            ) from None
        try:
            _remove_parts(prefix)
            yield
        finally:
            path.unlink(missing_ok=True)


def _remove_parts(prefix: Path) -> None:
    """Remove what a killed run of this prefix was about to write."""
    form = re.compile(rf"\.{re.escape(prefix.name)}_(iter_\d+|best_\w+)\.(caffemodel|solverstate|json).*\.part")
    for file in prefix.parent.iterdir():
        if form.fullmatch(file.name):
            file.unlink(missing_ok=True)


def write_snapshot(
    config: SolverConfig,
    nets: Mapping[str, Net],
    state: SolverState,
    smoothed: SmoothedLoss,
    name: str,
    **extras: Any,
) -> Path:
    """Write weights, side-car and state; the path of the state. A file that stood there stays unless its heir is whole.

    extras: further fields of the side-car. The state comes last: once it is there, so is all that it needs. SolverError
    where the disk does not take it.
    """
    if not config.snapshot_prefix:
        raise SolverError("snapshot_prefix is missing; give the path that snapshots start with")
    weights_path, state_path = snapshot_paths(config, name)
    kind = "HDF5" if config.snapshot_hdf5 else "binary proto"
    model = nets["train"].model()
    stored = to_file(state, str(weights_path))
    try:
        logger.info("Snapshotting to %s file %s", kind, weights_path)
        if config.snapshot_hdf5:
            hdf5.write_weights(weights_path, model.weights, model.net)
        else:
            binary.write_net(weights_path, model.net, model.weights)
        logger.info("Snapshotting solver state to %s file %s", kind, state_path)
        gathered = continuation.gather(config.type, nets, smoothed, stored)
        checksums = {"weights": sidecar.weights_checksum(model.weights)}
        _write_sidecar(state_path, replace(gathered, checksums=checksums, **extras))
        write_state(state_path, stored)
    except OSError as error:
        raise SolverError(
            f"iteration {state.iteration}: no snapshot could be written: {error}; earlier ones are whole, "
            "resume from the last once there is room"
        ) from None
    return state_path


def _write_sidecar(state_path: Path, sections: sidecar.Sidecar) -> None:
    text, arrays = sidecar.encode(sections)
    for path, content in ((sidecar.arrays_path(state_path), arrays), (sidecar.sidecar_path(state_path), text)):
        if content:
            with write_atomically(path) as temporary:
                temporary.write_bytes(content)
        else:
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Snapshot:
    """A solverstate that was read and not yet taken over, and its side-car, if it has its own."""

    path: Path
    stored: SolverStateFile
    sidecar: sidecar.Sidecar | None

    @property
    def options(self) -> Options | None:
        """What its run had beside its solver's file, see `run_options`; None where that is not known."""
        return self.sidecar.run if self.sidecar else None


def open_snapshot(path: str | os.PathLike[str]) -> Snapshot:
    """The state at `path`, and the side-car that belongs to it."""
    stored = read_state(path)
    return Snapshot(Path(path), stored, sidecar.read(Path(path), stored))


def load_snapshot(opened: Snapshot, config: SolverConfig, nets: Mapping[str, Net], state: SolverState) -> SmoothedLoss:
    """Go on from the state, the weights it names and its side-car; the smoothed loss to go on with.

    Nothing changes where weights or state do not fit.
    """
    net, stored = nets["train"], opened.stored
    if opened.sidecar is not None and opened.sidecar.type != config.type:
        kind = opened.sidecar.type
        raise SolverError(
            f"{opened.path}: a solver of type {kind} wrote this state, this one has type {config.type}; "
            f"set type to {kind}, or start from the weights alone"
        )
    check_fit(state, stored, opened.path, config.type)
    if stored.learned_net:
        weights_path = _learned_net(stored.learned_net, opened.path)
        net.load_weights(read_weights(weights_path, net.param))
    logger.info("SGDSolver: restoring history")
    load(state, stored)
    if opened.sidecar is None:
        return SmoothedLoss(config.average_loss)
    return continuation.apply(opened.sidecar, nets, config.average_loss)


def load_weights(net: Net, weights: Any) -> bool:
    """Copy weights in by layer name, file after file, as `caffe train -weights a,b`: a comma list or a sequence.

    Whether any of the files is a .caffemodel, not HDF5.
    """
    paths = _paths(weights)
    for path in paths:
        logger.info("Finetuning from %s", path)
    load_files(net, paths)
    return any(not hdf5.is_hdf5(path) for path in paths)


def _learned_net(name: str, state_path: Path) -> Path:
    """The weights a state names: at the path it gives, else beside the state, where a moved run keeps them."""
    beside = state_path.parent / Path(name).name
    if Path(name).is_file():
        return Path(name)
    if beside.is_file():
        logger.info("%s names %s, which is not there; taking %s", state_path, name, beside)
        return beside
    raise SolverError(
        f"{state_path}: its weights '{name}' are neither there nor at '{beside}'; put them beside the solverstate"
    )


def _paths(weights: Any) -> list[str | os.PathLike[str]]:
    """Weights files from a comma list, one path or a sequence of either."""
    if isinstance(weights, os.PathLike):
        return [weights]
    if isinstance(weights, str):
        return [name.strip() for name in weights.split(",") if name.strip()]
    return [name for item in weights for name in _paths(item)]
