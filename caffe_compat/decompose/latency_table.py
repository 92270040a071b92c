"""Measured times kept in a file: what a layer and its chains took on a device, by their sizes alone."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from caffe_compat.errors import RankError
from caffe_compat.layers.base import Shape
from caffe_compat.proto.files import write_atomically
from caffe_compat.proto.printer import format_text
from caffe_compat.proto.reading import read_json

DENSE = "dense"


class LatencyTable:
    """Seconds by circumstances, layer and chain; empty, and never written, without a `path`.

    A time holds for layers of the same fields and bottom, on the same device, with as many threads and the same torch.
    Raises RankError for a file that holds anything else.
    """

    def __init__(self, path: str | os.PathLike[str] | None, device: str) -> None:
        self.path = None if path is None else Path(path)
        self.seconds: dict[str, dict[str, float]] = {}
        self.where = f"{_processor(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}"
        self.changed = False
        if self.path is not None and self.path.exists():
            self.seconds = _read(self.path)

    def find(self, layer: Any, bottom: Shape, chains: Sequence[tuple[str, int]]) -> list[float] | None:
        """Seconds of the layer, then of each chain (method, rank); None unless all are known."""
        known = self.seconds.get(self._key(layer, bottom), {})
        names = [DENSE, *(f"{method} {rank}" for method, rank in chains)]
        return [known[name] for name in names] if all(name in known for name in names) else None

    def add(self, layer: Any, bottom: Shape, chains: Sequence[tuple[str, int]], seconds: Sequence[float]) -> None:
        """Keep what was measured together, in place of what was known of the layer."""
        names = [DENSE, *(f"{method} {rank}" for method, rank in chains)]
        self.seconds[self._key(layer, bottom)] = dict(zip(names, seconds, strict=True))
        self.changed = True

    def write(self) -> None:
        """Write the file, if there is one and it would change. Raises WriteError."""
        if self.path is not None and self.changed:
            with write_atomically(self.path) as temporary:
                temporary.write_text(json.dumps(self.seconds, indent=1) + "\n", encoding="utf-8")

    def _key(self, layer: Any, bottom: Shape) -> str:
        fields = type(layer.convolution_param)()
        fields.CopyFrom(layer.convolution_param)
        for filler in ("weight_filler", "bias_filler"):
            fields.ClearField(filler)
        window = " ".join(format_text(fields).split())
        return f"{self.where}; {'x'.join(map(str, bottom))}; {window}"


def _processor(device: str) -> str:
    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{seconds} is no time")
    return seconds


def _read(path: Path) -> dict[str, dict[str, float]]:
    try:
        found = read_json(path, "a table of measured times", RankError)
        return {key: {name: _seconds(spent) for name, spent in times.items()} for key, times in found.items()}
    except (ValueError, AttributeError, TypeError, OverflowError) as error:
        if isinstance(error, RankError):
            raise
        raise RankError(f"{path}: is no table of measured times ({error}); give another file, or remove it") from None
