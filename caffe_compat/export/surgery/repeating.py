"""A written certificate of a surgery: what it names is done again to the original and held against the net."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from caffe_compat.errors import CaffeCompatError, DataError, WeightsError
from caffe_compat.export.surgery.certify import TOLERANCE, certify_surgery
from caffe_compat.export.surgery.classifier import resize_classifier
from caffe_compat.export.surgery.dense import fully_connected, fully_convolutional
from caffe_compat.export.surgery.inputs import fold_scaling, join_channels, resize_input, swap_channels
from caffe_compat.export.surgery.operation import Operation
from caffe_compat.layers.base import Shape
from caffe_compat.net.certificate import Certificate
from caffe_compat.proto.model import Model
from caffe_compat.proto.reading import read_json

_OPERATIONS: dict[str, Callable[..., Operation]] = {
    each.__name__: each
    for each in (
        fold_scaling, fully_connected, fully_convolutional, join_channels, resize_classifier, resize_input,
        swap_channels,
    )
}  # fmt: skip
SAME = 1e-6  # of the largest value of a weight: sums of a fold in another order


@dataclass(frozen=True)
class Surgery:
    """What a certificate says: calls, a function's name and its arguments each, and the errors of blobs."""

    calls: tuple[tuple[str, Mapping[str, Any]], ...]
    blobs: Mapping[str, float]


def read_surgery(path: str | os.PathLike[str]) -> Surgery | None:
    """What the certificate at `path` says; None for one that is no surgery's. Raises DataError for a damaged one."""
    found = read_json(path, "a certificate, as `surgery` or `prune` writes it,")
    layers = found.get("layers") if isinstance(found, dict) else None
    if not isinstance(layers, dict):
        raise DataError(f"{path}: no certificate; give what `surgery` or `prune` wrote")
    steps = [dict(each) for each in layers.values() if isinstance(each, dict)]
    if not any("what" in step for step in steps):
        return None
    for step in steps:
        step.pop("what", None)
        if step.get("operation") not in _OPERATIONS:
            raise DataError(f"{path}: '{step.get('operation')}' is no operation of surgery; the certificate is damaged")
    blobs = found.get("blobs")
    numbers = list(blobs.values()) if isinstance(blobs, dict) else [None]
    if not all(isinstance(each, float | int) and 0 <= each <= TOLERANCE for each in numbers):
        raise DataError(f"{path}: its errors of blobs are not numbers from 0 to {TOLERANCE:g}; it is damaged")
    return Surgery(tuple((step.pop("operation"), step) for step in steps), blobs)


def verify_surgery(
    original: Model,
    made: Model,
    path: str | os.PathLike[str],
    input_shapes: Mapping[str, Shape] | None = None,
    folder: Path | None = None,
) -> Certificate:
    """The certificate at `path` made anew: what it names is done to `original`, and must give `made`.

    folder: as in certify_surgery. Raises DataError for a certificate that is damaged or another surgery's, WeightsError
    where layers or weights of `made` are others than its operations give, or a blob is off.
    """
    told = read_surgery(path)
    if told is None:
        raise DataError(f"{path}: no certificate of a surgery; give what `surgery --certificate` wrote")
    operations: list[Operation] = []
    for name, given in told.calls:
        try:
            operations.append(_OPERATIONS[name](operations[-1].model if operations else original, **given))
        except CaffeCompatError as error:
            raise DataError(f"{path}: {name} cannot be done to the original: {error}") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path}: {name} takes no {given} ({error}); the certificate is damaged") from error
    _hold(operations[-1].model, made, path)
    shapes = {} if any(each.incomparable for each in operations) else input_shapes
    again = certify_surgery(original, [*operations[:-1], replace(operations[-1], model=made)], shapes, folder)
    if set(again.blobs) != set(told.blobs):
        odd = sorted(set(again.blobs) ^ set(told.blobs))[0]
        raise DataError(f"{path}: blob '{odd}' stands in it or among the blobs of the nets, but not in both")
    return again


def _hold(wanted: Model, found: Model, path: str | os.PathLike[str]) -> None:
    """Refuse a model that is not `wanted`: layers as they are, weights within SAME."""
    layers = [list(model.net.layer) for model in (wanted, found)]
    if layers[0] != layers[1]:
        odd = next((its.name for ours, its in zip(*layers, strict=False) if ours != its), "")
        told = f"layer '{odd}' of the net is not" if odd else f"a net of {len(layers[1])} layers is not"
        raise WeightsError(f"{path}: {told} what its operations make of the original")
    for name in {**wanted.weights, **found.weights}:
        ours, its = ([np.asarray(each) for each in model.weights.get(name, ())] for model in (wanted, found))
        if [each.shape for each in ours] != [each.shape for each in its]:
            raise WeightsError(f"{path}: weights of layer '{name}' have other shapes than its operations give")
        for number, (one, other) in enumerate(zip(ours, its, strict=True)):
            if not np.allclose(other, one, rtol=0, atol=SAME * float(np.abs(one).max(initial=0))):
                raise WeightsError(
                    f"{path}: blob {number} of layer '{name}' is not what its operations make of the original's; "
                    "was the net trained since?"
                )
