"""What Caffe forgets on resuming, kept in a JSON file beside its solverstate: PREFIX_iter_N.solverstate.json.

Caffe's own files stay as Caffe writes them. The side-car holds the place and seed of every data layer, the state of the
random generators, the smoothed loss and the solver type, and a checksum that ties it to one solverstate: one that was
replaced, by Caffe for instance, is not resumed with another's data cursor.
"""

from __future__ import annotations

import base64
import json
import logging
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caffe_compat.errors import SolverError
from caffe_compat.layers.source import SourceLayer
from caffe_compat.net.net import Net
from caffe_compat.proto.binary import SolverStateFile
from caffe_compat.proto.files import write_atomically
from caffe_compat.solver.smoothing import SmoothedLoss

logger = logging.getLogger(__name__)

VERSION = 1


@dataclass(frozen=True)
class Sidecar:
    """type: of the solver. checksum: of the solverstate it belongs to.

    sources: net -> data layer -> (cursor, seed); the cursor counts the batches of all processes that train together.
    generators: device -> state of torch's generator, base64 of zlib. rank_generators: the same of rank 1, 2, ...
    losses, smoothed_loss, losses_added: see SmoothedLoss. loss_scale: of fp16 and how long it has held, see LossScale.
    """

    type: str
    checksum: int
    sources: dict[str, dict[str, tuple[int, int]]]
    generators: dict[str, str]
    losses: list[float]
    smoothed_loss: float
    losses_added: int
    rank_generators: list[dict[str, str]] = field(default_factory=list)
    loss_scale: tuple[float, int] | None = None
    version: int = VERSION


def sidecar_path(state_path: Path) -> Path:
    """Where the side-car of a solverstate lies."""
    return state_path.with_name(state_path.name + ".json")


def checksum(stored: SolverStateFile) -> int:
    """A CRC of what a solverstate holds, the same for its binary and its HDF5 form."""
    value = zlib.crc32(f"{stored.iteration} {stored.current_step}".encode())
    for blob in stored.history:
        value = zlib.crc32(np.ascontiguousarray(blob, dtype="<f4").data, value)
    return value


def gather(solver_type: str, nets: Mapping[str, Net], smoothed: SmoothedLoss, stored: SolverStateFile) -> Sidecar:
    """The side-car of now."""
    return Sidecar(
        type=solver_type,
        checksum=checksum(stored),
        sources={name: _places(net) for name, net in nets.items()},
        generators=generators(),
        losses=smoothed.losses,
        smoothed_loss=smoothed.value,
        losses_added=smoothed.added,
    )


def write(path: Path, sidecar: Sidecar) -> None:
    """Write it as JSON, whole or not at all."""
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(asdict(sidecar)), encoding="utf-8")


def read(state_path: Path, stored: SolverStateFile, solver_type: str) -> Sidecar | None:
    """The side-car of a solverstate; None, and a line in the log, where there is none that belongs to it.

    SolverError where it says that another type of solver wrote the state.
    """
    path = sidecar_path(state_path)
    if not path.is_file():
        logger.info("No %s: data and random numbers start anew, as in Caffe", path)
        return None
    try:
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        sidecar = Sidecar(**fields)
    except (OSError, ValueError, TypeError) as error:
        logger.warning("%s cannot be used (%s): data and random numbers start anew, as in Caffe", path, error)
        return None
    if sidecar.version != VERSION or sidecar.checksum != checksum(stored):
        logger.warning("%s belongs to another solverstate: data and random numbers start anew, as in Caffe", path)
        return None
    if sidecar.type != solver_type:
        raise SolverError(
            f"{state_path}: a solver of type {sidecar.type} wrote this state, this one has type {solver_type}; "
            f"set type to {sidecar.type}, or start from the weights alone"
        )
    return sidecar


def apply(sidecar: Sidecar, nets: Mapping[str, Net], window: int) -> SmoothedLoss:
    """Put data layers and random generators where the side-car says; the smoothed loss to go on with."""
    for name, net in nets.items():
        places = sidecar.sources.get(name, {})
        for layer in _sources(net):
            if layer.name in places:
                cursor, seed = places[layer.name]
                layer.close()  # what it has open was made with its own seed
                if hasattr(layer, "seed"):
                    layer.seed = seed
                layer.seek(-(-cursor // getattr(layer, "ranks", 1)))  # of another number of ranks: none is read twice
    set_generators(sidecar.generators)
    smoothed = SmoothedLoss(window)
    if len(sidecar.losses) <= window:
        smoothed.losses, smoothed.value, smoothed.added = sidecar.losses, sidecar.smoothed_loss, sidecar.losses_added
    return smoothed


def generators() -> dict[str, str]:
    """The state of torch's random generators of now, by device."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return {name: _pack(state) for name, state in states.items()}


def set_generators(states: Mapping[str, str]) -> None:
    """Go on with the random numbers that `generators` gave the state of."""
    for name, state in states.items():
        if name == "cpu":
            torch.set_rng_state(_unpack(state))
        elif torch.cuda.is_available():
            torch.cuda.set_rng_state(_unpack(state))


def _places(net: Net) -> dict[str, tuple[int, int]]:
    return {
        layer.name: (layer.cursor * getattr(layer, "ranks", 1), getattr(layer, "seed", 0)) for layer in _sources(net)
    }


def _sources(net: Net) -> list[Any]:
    return [layer for layer in net.layers.values() if isinstance(layer, SourceLayer) and not layer.fed]


def _pack(state: torch.Tensor) -> str:
    return base64.b64encode(zlib.compress(state.numpy().tobytes())).decode()


def _unpack(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(zlib.decompress(base64.b64decode(text))), dtype=torch.uint8)
