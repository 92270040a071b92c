"""Prune a model by a criterion, and prove it: `prune_filters(model, Selection("l2", 0.5))`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from caffe_compat.errors import DataError, RankError, WeightsError
from caffe_compat.layers.base import Shape
from caffe_compat.net.certificate import Certificate, compare_outcomes
from caffe_compat.net.cost import cost
from caffe_compat.proto.model import Model
from caffe_compat.proto.reading import read_json
from caffe_compat.prune.masks import cut_off
from caffe_compat.prune.narrow import (
    Coupled,
    Narrowed,
    Removed,
    classes_removed,
    couple,
    dead_channels,
    narrow_classes,
)
from caffe_compat.prune.selection import Selection, select

logger = logging.getLogger(__name__)
STEPS = 12  # halvings in search of a share that meets a budget


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
    """model: the narrower one. certificate: of it against the masked one, by the blobs of the same shape."""

    model: Model
    certificate: Certificate


def prune_filters(
    model: Model,
    selection: Selection,
    multiply_adds: float | None = None,
    input_shapes: Mapping[str, Shape] | None = None,
    fold: bool = True,
    folder: Path | None = None,
) -> PrunedFilters:
    """`model` without the filters that `selection` takes.

    multiply_adds: the share of them to keep, in (0, 1]; selection.remove is then found for it. RankError where the
    selection cannot be, no share meets the budget, or nothing would go.
    """
    coupled = couple(model, input_shapes, folder)
    if multiply_adds is not None:
        selection = _for_budget(model, coupled, selection, multiply_adds, input_shapes, folder)
    removed = select(model, coupled, selection)
    if not removed:
        raise RankError(f"nothing to remove by criterion '{selection.criterion}' from net '{model.net.name}'")
    small = narrow_classes(model, coupled, removed, input_shapes, fold, folder)
    proof = _certificate(model, coupled, removed, small, small.model, input_shapes, fold, folder)
    return PrunedFilters(small.model, proof)


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
    coupled = couple(original, input_shapes, folder)
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
    dead = dead_channels(model, coupled, removed) if fold else {}
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


def _for_budget(
    model: Model,
    coupled: Coupled,
    selection: Selection,
    share: float,
    input_shapes: Mapping[str, Shape] | None,
    folder: Path | None,
) -> Selection:
    """`selection` with the smallest share to remove that leaves `share` of the multiply-adds, or less."""
    if not 0 < share <= 1:
        raise RankError(f"multiply_adds is {share:g}; wanted a share above 0 and at most 1")
    if selection.criterion in ("eprune", "zeros"):
        raise RankError(f"criterion '{selection.criterion}' says itself how many filters go; leave out multiply_adds")
    whole = cost(model, input_shapes).multiply_adds
    low, high, found = 0.0, 1.0, None
    for _ in range(STEPS):
        middle = (low + high) / 2
        trial = replace(selection, remove=middle)
        removed = select(model, coupled, trial)
        small = narrow_classes(model, coupled, removed, input_shapes, fold=False, folder=folder)
        if cost(small.model, input_shapes).multiply_adds <= share * whole:
            high, found = middle, trial
        else:
            low = middle
    if found is None:
        raise RankError(f"multiply_adds {share:g} cannot be met by criterion '{selection.criterion}'; allow more")
    logger.info("To keep %.4g of the multiply-adds, %.4g of the filters of each layer go", share, found.remove)
    return found


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
