"""Prune a model by a criterion, and prove it: `prune_filters(model, Selection("l2", 0.5))`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from caffe_compat.errors import DataError, RankError, WeightsError
from caffe_compat.layers.base import Shape
from caffe_compat.net.certificate import Certificate, compare_outcomes
from caffe_compat.net.comparison import common_shapes
from caffe_compat.proto.model import Model
from caffe_compat.proto.reading import read_json
from caffe_compat.prune.budget import Trials, within_budget
from caffe_compat.prune.constants import Removed, dead_channels
from caffe_compat.prune.groups import groups_of_zeros, groups_that_went
from caffe_compat.prune.masks import cut_off
from caffe_compat.prune.narrow import (
    Coupled,
    Narrowed,
    classes_removed,
    couple,
    narrow_classes,
)
from caffe_compat.prune.selection import Selection


@dataclass(frozen=True)
class FilterCertificate:
    """One layer that lost filters. kept: the numbers, in the original, of those that are left.

    constants: whether constants of filters that were 0 are in its bias. exact: False where its padding makes that an
    approximation. weights: largest difference of its blobs from those that the kept sets leave of the original's.
    """

    filters: int
    largest: int
    kept: tuple[int, ...]
    constants: bool
    exact: bool
    weights: float


@dataclass(frozen=True)
class PrunedFilters:
    """model: the narrower one. certificate: of it against the masked one, by the blobs of the same shape.

    input_shapes: with which costs can be counted although data may not be here.
    """

    model: Model
    certificate: Certificate
    input_shapes: Mapping[str, Shape]


def prune_filters(
    model: Model,
    selection: Selection,
    multiply_adds: float | None = None,
    input_shapes: Mapping[str, Shape] | None = None,
    fold: bool = True,
    folder: Path | None = None,
    *,
    batches: Sequence[Mapping[str, Any]] = (),
    latency: float | None = None,
    rounds: int = 1,
) -> PrunedFilters:
    """`model` without the filters that `selection` takes.

    multiply_adds, latency: the share of them, or of the measured time of a forward pass, to keep, in (0, 1];
    selection.remove is then found for it. batches: {blob: values} each, on which the criteria fisher and tfo take the
    mean gradient of the loss of the TEST net. rounds: the share goes in so many, scores anew in each (OrthoReg).
    RankError where the selection cannot be, no share meets the budget, or nothing would go; DataError for a net without
    a loss.
    """
    whole = groups_of_zeros(model) if selection.criterion == "zeros" else ()
    coupled = couple(model, input_shapes, folder, whole)
    (shapes,) = common_shapes([model], "TEST", input_shapes or {}, folders=[folder])
    nets = Trials(model, coupled, shapes or None, folder, tuple(batches), rounds)
    removed = within_budget(nets, selection, multiply_adds, latency)
    if not removed:
        raise RankError(f"nothing to remove by criterion '{selection.criterion}' from net '{model.net.name}'")
    small = narrow_classes(model, coupled, removed, input_shapes, fold, folder)
    proof = _certificate(model, coupled, removed, small, small.model, input_shapes, fold, folder)
    return PrunedFilters(small.model, proof, shapes)


def certify_pruned(
    original: Model,
    pruned: Model,
    kept: Mapping[str, tuple[int, ...]],
    input_shapes: Mapping[str, Shape] | None = None,
    fold: bool = True,
    folder: Path | None = None,
) -> Certificate:
    """The certificate of `pruned`, made anew from both models and the `kept` filters of a certificate.

    Raises RankError where the kept sets are none of the original's, WeightsError where shapes do not fit.
    """
    coupled = couple(original, input_shapes, folder, groups_that_went(original, pruned))
    gone = {}
    for layer, numbers in kept.items():
        if layer not in original.weights:
            raise RankError(f"the certificate names layer '{layer}', which the original does not have weights of")
        gone[layer] = sorted(set(range(len(original.weights[layer][0]))) - set(numbers))
    removed = classes_removed(coupled, gone)
    small = narrow_classes(original, coupled, removed, input_shapes, fold, folder)
    for layer, blobs in small.model.weights.items():
        found = [tuple(blob.shape) for blob in pruned.weights.get(layer, ())]
        wanted = [tuple(blob.shape) for blob in blobs]
        if found != wanted:
            raise WeightsError(f"layer '{layer}' has blobs of {found}; the certificate's filters leave {wanted}")
    return _certificate(original, coupled, removed, small, pruned, input_shapes, fold, folder)


def _certificate(
    model: Model,
    coupled: Coupled,
    removed: Removed,
    small: Narrowed,
    found: Model,
    input_shapes: Mapping[str, Shape] | None,
    fold: bool,
    folder: Path | None,
) -> Certificate:
    dead = dead_channels(model, coupled.channels.classes, removed) if fold else {}
    cut = {number: [k for k in channels if k not in dead.get(number, ())] for number, channels in removed.items()}
    masked = cut_off(model, coupled, cut)
    blobs = compare_outcomes(masked, found, input_shapes, folder)
    names = [name for name in (layer.name for layer in model.net.layer) if name in {*small.kept, *small.constants}]
    layers = {
        name: FilterCertificate(
            len(found.weights[name][0]),
            len(model.weights[name][0]),
            tuple(small.kept.get(name, range(len(model.weights[name][0])))),
            name in small.constants,
            name not in small.inexact,
            _difference(small.model, found, name),
        )
        for name in names
    }
    return Certificate(layers, {name: value for name, value in blobs.items() if np.isfinite(value)})


def _difference(one: Model, other: Model, name: str) -> float:
    pairs = zip(one.weights[name], other.weights[name], strict=True)
    return max(float(np.abs(np.asarray(a, float) - np.asarray(b, float)).max(initial=0)) for a, b in pairs)


def read_kept(path: str | os.PathLike[str]) -> tuple[dict[str, tuple[int, ...]], bool]:
    """What a written certificate says: {layer: its kept filters}, and whether constants were folded.

    Raises DataError for a file that is no certificate of a pruned net.
    """
    found = read_json(path, "a certificate of a pruned net, as `prune` writes it,")
    try:
        layers = found["layers"]
        kept = {
            name: tuple(int(number) for number in layer["kept"])
            for name, layer in layers.items()
            if layer["filters"] < layer["largest"]
        }
        constants = any(layer["constants"] for layer in layers.values())
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: no certificate of a pruned net ({error}); give what `prune` wrote") from None
    return kept, constants
