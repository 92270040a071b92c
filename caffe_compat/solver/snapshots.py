"""Snapshots as Caffe takes them: PREFIX_iter_N.caffemodel and PREFIX_iter_N.solverstate, and how a run resumes."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from caffe_compat.errors import CaffeCompatError, SolverError
from caffe_compat.net.loading import load_files
from caffe_compat.net.net import Net
from caffe_compat.proto import binary, hdf5
from caffe_compat.proto.binary import SolverStateFile
from caffe_compat.proto.files import leads_outside, write_atomically
from caffe_compat.proto.model import Model, read_weights
from caffe_compat.solver import continuation, sidecar
from caffe_compat.solver.prefix import settle
from caffe_compat.solver.run_options import Options
from caffe_compat.solver.sets import states, written_together
from caffe_compat.solver.settings import SolverConfig
from caffe_compat.solver.smoothing import SmoothedLoss
from caffe_compat.solver.state import SolverState, check_fit, load, read_state, to_file, write_state

logger = logging.getLogger(__name__)

NEWEST = ("latest", "auto")  # words for the newest whole snapshot of a prefix, or a start where there is none


def snapshot_paths(config: SolverConfig, name: str) -> tuple[Path, Path]:
    """Where the weights and the state of snapshot `name`, such as "iter_1000", go."""
    suffix = ".h5" if config.snapshot_hdf5 else ""
    stem = f"{config.snapshot_prefix}_{name}"
    return Path(f"{stem}.caffemodel{suffix}"), Path(f"{stem}.solverstate{suffix}")


def check_names(config: SolverConfig, net: Net) -> None:
    """Find out before training starts that HDF5 could not hold the layers of `net`; SolverError names the first."""
    for _, layer in net.steps if config.snapshot_hdf5 else ():
        if not hdf5.is_group_name(layer.name):
            raise SolverError(
                f"snapshot_format is HDF5, but layer '{layer.name}' cannot go into it, where '/' parts groups; "
                "take BINARYPROTO, or rename the layer"
            )


def check_writable(config: SolverConfig) -> None:
    """Find out before training starts that a snapshot could not be written; SolverError says why."""
    prefix = config.snapshot_prefix
    if not prefix:
        raise SolverError("snapshot_prefix is missing; give the path that snapshots start with")
    if "\0" in prefix:
        raise SolverError(f"snapshot_prefix is '{prefix}', which no file can be called; take the NUL character out")
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


def write_snapshot(
    config: SolverConfig,
    nets: Mapping[str, Net],
    state: SolverState,
    smoothed: SmoothedLoss,
    name: str,
    beside: Mapping[Path, bytes],
    **extras: Any,
) -> Path:
    """Write weights, side-car and state; the path of the state. All appear together, or what stood there stays.

    beside: further files that belong to them. extras: further fields of the side-car. SolverError where the disk does
    not take it.
    """
    if not config.snapshot_prefix:
        raise SolverError("snapshot_prefix is missing; give the path that snapshots start with")
    weights_path, state_path = snapshot_paths(config, name)
    model = nets["train"].model()
    stored = to_file(state, str(weights_path))
    sections = replace(continuation.gather(config.type, nets, smoothed, stored), **extras)
    try:
        with written_together(state_path) as written:
            _write_weights(config, model, weights_path)
            checksums = {"weights": sidecar.file_checksum(written[0][0])}
            text, arrays = sidecar.encode(replace(sections, checksums=checksums))
            contents = {sidecar.arrays_path(state_path): arrays, sidecar.sidecar_path(state_path): text}
            for path, content in {**contents, **beside}.items():
                if content:
                    with write_atomically(path) as temporary:
                        temporary.write_bytes(content)
            logger.info("Snapshotting solver state to %s file %s", _kind(config), state_path)
            write_state(state_path, stored)
    except OSError as error:
        raise SolverError(
            f"iteration {state.iteration}: no snapshot could be written: {error}; earlier ones are whole, "
            "resume from the last once there is room"
        ) from None
    return state_path


def _write_weights(config: SolverConfig, model: Model, path: Path) -> None:
    logger.info("Snapshotting to %s file %s", _kind(config), path)
    if config.snapshot_hdf5:
        hdf5.write_weights(path, model.weights, model.net)
    else:
        binary.write_net(path, model.net, model.weights)


def _kind(config: SolverConfig) -> str:
    return "HDF5" if config.snapshot_hdf5 else "binary proto"


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
    """The state at `path`, and the side-car that belongs to it.

    SolverError where the side-car is damaged, or belongs to the weights and not to the state.
    """
    path = Path(path)
    settle(path)
    stored = read_state(path)
    found = sidecar.read(path)
    if found is None or found.checksum == sidecar.checksum(stored):
        return Snapshot(path, stored, found)
    own = sidecar.sidecar_path(path)
    if stored.learned_net and "weights" in found.checksums:
        weights = _learned_net(stored.learned_net, path)
        if sidecar.file_checksum(weights) == found.checksums["weights"]:
            raise SolverError(
                f"{path}: '{own}' and '{weights}' are of another snapshot than this state; put the state of theirs "
                "back, resume from another snapshot, or remove the side-car to go on from both as Caffe does"
            )
    logger.warning("%s belongs to another solverstate: %s", own, sidecar.START_ANEW)
    return Snapshot(path, stored, None)


def newest_snapshot(prefix: str | os.PathLike[str]) -> Snapshot | None:
    """The newest numbered snapshot of a prefix that is whole, weights included; None where there is none.

    One that is not is passed over with a line in the log that says why.
    """
    prefix = Path(prefix)
    if not prefix.parent.is_dir():
        return None
    settle(prefix.with_name(f"{prefix.name}_iter_0.solverstate"))
    for path in states(prefix):
        try:
            snapshot = open_snapshot(path)
            _weights_of(snapshot)
        except CaffeCompatError as error:
            logger.warning("Passing over %s: %s", path, error)
        else:
            return snapshot
    return None


def load_snapshot(opened: Snapshot, config: SolverConfig, nets: Mapping[str, Net], state: SolverState) -> SmoothedLoss:
    """Go on from the state, the weights it names and its side-car; the smoothed loss to go on with.

    Nothing changes where weights or state do not fit.
    """
    load_training(opened, config, nets["train"], state)
    if opened.sidecar is None:
        return SmoothedLoss(config.average_loss)
    return continuation.apply(opened.sidecar, nets, config.average_loss)


def load_training(opened: Snapshot, config: SolverConfig, net: Net, state: SolverState) -> None:
    """Take the state and the weights it names, and nothing of the side-car; nothing where they do not fit."""
    stored = opened.stored
    if opened.sidecar is not None and opened.sidecar.type != config.type:
        kind = opened.sidecar.type
        raise SolverError(
            f"{opened.path}: a solver of type {kind} wrote this state, this one has type {config.type}; "
            f"set type to {kind}, or start from the weights alone"
        )
    check_fit(state, stored, opened.path, config.type)
    if (path := _weights_of(opened)) is not None:
        net.load_weights(read_weights(path, net.param))
    logger.info("SGDSolver: restoring history")
    load(state, stored)


def _weights_of(opened: Snapshot) -> Path | None:
    """The file with the weights of a state, None where it names none. SolverError where its side-car knows others."""
    if not opened.stored.learned_net:
        return None
    path = _learned_net(opened.stored.learned_net, opened.path)
    wanted = opened.sidecar.checksums.get("weights") if opened.sidecar else None
    if wanted is not None and wanted != sidecar.file_checksum(path):
        raise SolverError(
            f"{path}: these are not the weights that '{opened.path}' was written with; put those back, resume from "
            f"another snapshot, or remove '{sidecar.sidecar_path(opened.path)}' to go on from both as Caffe does"
        )
    return path


def load_weights(net: Net, weights: Any) -> bool:
    """Copy weights in by layer name, file after file, as `caffe train -weights a,b`: a comma list or a sequence.

    Whether any of the files is a .caffemodel, not HDF5.
    """
    paths = _paths(weights)
    for path in paths:
        logger.info("Finetuning from %s", path)
    load_files(net, paths)
    return any(not hdf5.is_hdf5(path) for path in paths)


def load_tested_weights(net: Net, trained: Net, weights: Any) -> None:
    """The same for a test net that has blobs of its own; those of `trained` it shares from then on."""
    own = [name for name, layer in net.layers.items() if len(layer.blobs) and name not in trained.layers]
    paths = _paths(weights) if own else []
    found = {name for path in paths for name in net.load_weights(read_weights(path, net.param)).copied}
    missing = ", ".join(f"'{name}'" for name in own if name not in found)
    if paths and missing:
        files = ", ".join(os.fspath(path) for path in paths)
        logger.warning("No weights in %s for %s of a test net; kept as initialised", files, missing)


def _learned_net(name: str, state_path: Path) -> Path:
    """The weights a state names: beside it, where a moved or copied run keeps them, else at the path it gives."""
    beside = state_path.parent / Path(name).name
    if beside.is_file():
        if Path(name) != beside and not (Path(name).is_file() and beside.samefile(name)):
            logger.info("%s names %s; taking %s, which lies beside it", state_path, name, beside)
        return beside
    if Path(name).is_file():
        return Path(name)
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
