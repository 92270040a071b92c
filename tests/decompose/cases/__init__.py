"""Given/Result cases: what a rewrite does to a net, as prototxt.

A case file holds its claim, then `key: JSON` lines, then the net under "Given:" and the net wanted under "Result:".
weights gives the shapes of the given layers' blobs, made those of the resulting layers'.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from caffe_compat.proto.model import Model
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text


@dataclass(frozen=True)
class Case:
    settings: dict[str, Any]
    given: Model
    result: Any


def read_case(name: str) -> Case:
    path = Path(__file__).parent / f"{name}.txt"
    head, _, nets = path.read_text().partition("\nGiven:\n")
    given, _, result = nets.partition("\nResult:\n")
    lines = [line.partition(": ") for line in head.splitlines()[1:]]
    settings = {key: json.loads(value) if value[0] in '{["' else value for key, _, value in lines}
    weights = draw_weights(settings["weights"])
    given_net, result_net = (parse_text(text, NetParameter, f"{path.name}") for text in (given, result))
    return Case(settings, Model(given_net, weights), result_net)


def draw_weights(shapes: dict[str, Any]) -> dict[str, tuple[np.ndarray, ...]]:
    """Random float32 blobs of the given shapes; a name in place of shapes stands for that layer's blobs."""
    rng = np.random.default_rng(11)
    weights: dict[str, tuple[np.ndarray, ...]] = {}
    for name, blobs in shapes.items():
        if isinstance(blobs, str):
            weights[name] = weights[blobs]
        else:
            weights[name] = tuple(rng.standard_normal(shape).astype(np.float32) for shape in blobs)
    return weights


def names() -> list[str]:
    return sorted(path.stem for path in Path(__file__).parent.glob("*.txt"))
