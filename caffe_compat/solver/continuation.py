"""How a resumed run goes on as if nothing had been: places of data, random numbers, losses, to a side-car and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch

from caffe_compat.errors import SolverError
from caffe_compat.layers.source import SourceLayer
from caffe_compat.net.net import Net
from caffe_compat.proto.binary import SolverStateFile
from caffe_compat.solver.sidecar import Sidecar, checksum
from caffe_compat.solver.smoothing import SmoothedLoss


def gather(solver_type: str, nets: Mapping[str, Net], smoothed: SmoothedLoss, stored: SolverStateFile) -> Sidecar:
    """The side-car of now, as far as one process knows it."""
    return Sidecar(
        type=solver_type,
        checksum=checksum(stored),
        cursor={name: _places(net) for name, net in nets.items()},
        random=[generators()],
        losses=smoothed.losses,
        smoothed_loss=smoothed.value,
        losses_added=smoothed.added,
    )


def apply(sidecar: Sidecar, nets: Mapping[str, Net], window: int) -> SmoothedLoss:
    """Put data layers and random generators where the side-car says; the smoothed loss to go on with."""
    for name, net in nets.items():
        places = sidecar.cursor.get(name, {})
        for key, layer in sources(net).items():
            if key in places:
                cursor, seed = places[key]
                layer.close()  # what it has open was made with its own seed
                if hasattr(layer, "seed"):
                    layer.seed = seed
                layer.seek(-(-cursor // getattr(layer, "ranks", 1)))  # of another number of ranks: none is read twice
    set_generators(sidecar.random[0])
    smoothed = SmoothedLoss(window)
    if len(sidecar.losses) <= window:
        smoothed.losses, smoothed.value = list(sidecar.losses), sidecar.smoothed_loss
        smoothed.added = sidecar.losses_added
    return smoothed


def generators() -> dict[str, bytes]:
    """The state of torch's random generators of now, by device."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return {name: state.numpy().tobytes() for name, state in states.items()}


def set_generators(states: Mapping[str, bytes]) -> None:
    """Go on with the random numbers that `generators` gave the state of; SolverError where it is none."""
    for name, state in states.items():
        values = torch.frombuffer(bytearray(state), dtype=torch.uint8)
        try:
            if name == "cpu":
                torch.set_rng_state(values)
            elif torch.cuda.is_available():
                torch.cuda.set_rng_state(values)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise SolverError(f"the side-car holds no state of torch's generator for '{name}': {reason}") from None


def _places(net: Net) -> dict[str, tuple[int, int]]:
    return {
        key: (layer.cursor * getattr(layer, "ranks", 1), getattr(layer, "seed", 0))
        for key, layer in sources(net).items()
    }


def sources(net: Net) -> dict[str, Any]:
    """The data layers by name; the second of a name, which Caffe allows, as NAME#2, and so on."""
    found: dict[str, Any] = {}
    seen: Counter[str] = Counter()
    for _, layer in net.steps:
        if isinstance(layer, SourceLayer) and not layer.fed:
            seen[layer.name] += 1
            found[f"{layer.name}#{seen[layer.name]}" if seen[layer.name] > 1 else layer.name] = layer
    return found
