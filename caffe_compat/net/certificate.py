"""The form of a certificate: what a rewritten model is, found from its own weights, beside the model it came from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from caffe_compat.errors import WeightsError
from caffe_compat.layers.base import Shape
from caffe_compat.net.comparison import common_shapes, split_copies
from caffe_compat.net.inputs import valid_inputs
from caffe_compat.net.missing import only_there, without_weights
from caffe_compat.net.net import Net
from caffe_compat.progress import in_steps
from caffe_compat.proto.files import write_atomically
from caffe_compat.proto.model import Model


@dataclass(frozen=True)
class Certificate:
    """layers: by name of the original, what stands for each now; a dataclass of the rewriting's own.

    blobs: {blob: largest difference over the largest value}, original order. opencv: the same of the rewritten net run
    by OpenCV and here, or why that could not be; None if it was not tried. runtimes: {runtime: the same of outputs}.
    """

    layers: Mapping[str, Any]
    blobs: dict[str, float]
    opencv: dict[str, float] | str | None = None
    runtimes: dict[str, dict[str, float]] | None = None

    def __str__(self) -> str:
        return json.dumps({key: value for key, value in asdict(self).items() if key != "runtimes" or value}, indent=2)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON. Raises WriteError."""
        with write_atomically(path) as temporary:
            temporary.write_text(f"{self}\n", encoding="utf-8")


def compare_outcomes(
    original: Model, rewritten: Model, input_shapes: Mapping[str, Shape] | None = None, folder: Path | None = None
) -> dict[str, float]:
    """{blob: largest difference over the largest value} of the blobs that both TEST nets make of the same inputs.

    folder: where the original's file lies. The inputs are drawn as the layers take them, so that no data is needed
    where the nets tell its shape. Raises WeightsError for weights that a net lacks.
    """
    models = (original, rewritten)
    shapes = common_shapes(models, "TEST", input_shapes or {}, folders=[folder, folder])
    nets = [_checked_net(model, each, folder) for model, each in zip(models, shapes, strict=True)]
    inputs = valid_inputs(nets[0])
    with torch.no_grad():
        before, after = (net.eval().blobs(**inputs) for net in in_steps("running both nets", nets, _name))
    left_out = {*inputs, *split_copies(nets[0])}
    shared = [name for name in before if name in after and name not in left_out]
    return {name: _difference(before[name], after[name]) for name in in_steps("comparing blobs", shared)}


def _name(net: Net) -> str:
    return f"'{net.graph.name}'"


def _checked_net(model: Model, input_shapes: Mapping[str, Shape], folder: Path | None) -> Net:
    missing = ", ".join(without_weights(model, "TEST"))
    if missing:
        raise WeightsError(f"net '{model.net.name}' has no weights for {missing}{only_there(model)}; give their file")
    return Net(model, "TEST", input_shapes=input_shapes, folder=folder)


def _difference(one: Any, other: Any) -> float:
    if one.shape != other.shape:
        return float("inf")
    largest = one.abs().max() if one.numel() else torch.zeros(())
    return float((one - other).abs().max() / largest) if largest > 0 else float((one - other).abs().max())
