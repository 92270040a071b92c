"""A trained net that loses filters before it is fine-tuned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import caffe_compat as cc
from reproductions.steps import Filters

BANKS = ("Convolution", "InnerProduct")


def narrowed(model: cc.Model, filters: Filters, folder: Path, seed: int) -> cc.Model:
    """`model` without the filters that `filters` takes; folder: of its databases. seed: of random ones."""
    selection = cc.Selection(
        filters.criterion, filters.remove, except_layers=filters.except_layers, beta=filters.beta, seed=seed
    )
    if filters.criterion == "zeros":
        model = small_to_zero(model, filters.below)
        if not has_zero_filters(model):
            return model
    batches = cc.own_batches(model.net, filters.batches, folder=folder) if filters.batches else ()
    return cc.prune_filters(model, selection, folder=folder, batches=batches).model


def small_to_zero(model: cc.Model, below: float) -> cc.Model:
    """`model` with 0 for every filter whose mean |w| is at most `below`, and for its bias."""
    weights: dict[str, tuple[np.ndarray, ...]] = dict(model.weights)
    for name in filter_banks(model) if below else ():
        blobs = [np.array(blob) for blob in weights[name]]
        gone = np.abs(blobs[0]).reshape(len(blobs[0]), -1).mean(1) <= below
        for blob in blobs:
            blob[gone] = 0
        weights[name] = tuple(blobs)
    return cc.Model(model.net, weights)


def has_zero_filters(model: cc.Model) -> bool:
    return any(bool((~filled(model.weights[name][0])).any()) for name in filter_banks(model))


def filled(weight: np.ndarray) -> np.ndarray:
    """Which filters of weight (filters, ...) have a number other than 0: (filters,)."""
    return np.asarray(weight.reshape(len(weight), -1).any(1))


def filter_banks(model: cc.Model) -> list[str]:
    """The layers of `model` that have filters."""
    weights: Mapping[str, Any] = model.weights
    return list(dict.fromkeys(layer.name for layer in model.net.layer if layer.type in BANKS and layer.name in weights))
