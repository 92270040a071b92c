"""A certificate: what a decomposed model is, found from its own weights and set beside the model it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from caffe_compat.decompose.bank import FilterBank, find_layer, has_filters, read_bank
from caffe_compat.decompose.factorize import compose
from caffe_compat.decompose.rewrite import CHAINS
from caffe_compat.errors import RankError, WeightsError
from caffe_compat.layers.base import Shape
from caffe_compat.net.certificate import Certificate, compare_outcomes
from caffe_compat.progress import in_steps
from caffe_compat.proto.model import Model, ModelLike, as_model


@dataclass(frozen=True)
class ChainCertificate:
    """One chain and the layer that it stands for.

    chain: names of its layers. rank: the smallest number of channels between them, over all groups, which bounds the
    rank of what they compute. largest_rank: of the original layer. relative_error: |W - chain| / |W|, Frobenius.
    energy_kept: 1 - relative_error^2. bias_change: largest absolute difference of the bias.
    """

    chain: tuple[str, ...]
    rank: int
    largest_rank: int
    relative_error: float
    energy_kept: float
    bias_change: float


def certify(
    original: ModelLike,
    decomposed: ModelLike,
    input_shapes: Mapping[str, Shape] | None = None,
    folder: Path | None = None,
) -> Certificate:
    """Check a decomposed model against its original, from the two models alone.

    Every layer that is missing from `decomposed` must be there as a chain whose weights fit together; both nets are
    run (TEST) on the same inputs and all blobs that they share are compared. folder: where the original's file lies.
    Raises RankError for a layer that is gone without a chain, WeightsError for weights that a net lacks or that do not
    fit.
    """
    original, decomposed = as_model(original), as_model(decomposed)
    names = {layer.name for layer in decomposed.net.layer}
    filters = {layer.name for layer in decomposed.net.layer if has_filters(layer)}
    gone = [each for each in original.net.layer if each.name not in (filters if has_filters(each) else names)]
    layers = {
        layer.name: _certify_chain(decomposed, read_bank(original, layer), _chain_of(layer.name, filters))
        for layer in in_steps("comparing weights", gone, lambda layer: layer.name)
    }
    return Certificate(layers, compare_outcomes(original, decomposed, input_shapes, folder))


def _chain_of(name: str, names: set[str]) -> tuple[str, ...]:
    for links in sorted(CHAINS.values(), key=len, reverse=True):  # cp has the names of separable, and more
        chain = tuple(f"{name}_{link.suffix}" for link in links)
        if names.issuperset(chain):
            return chain
    raise RankError(f"layer '{name}' is gone, and no chain such as {name}_lowrank and {name}_linear stands for it")


def _certify_chain(model: Model, bank: FilterBank, chain: tuple[str, ...]) -> ChainCertificate:
    parts = [read_bank(model, find_layer(model, name)) for name in chain]
    inner = [part.bias for part in parts[:-1] if part.bias is not None and part.bias.any()]
    if inner:
        raise WeightsError(f"layer '{chain[0]}' has a bias that is not zero; only the last of a chain may have one")
    try:
        made = compose([part.weight for part in parts], bank.group).reshape(bank.weight.shape)
    except ValueError as misfit:
        shapes = " and ".join(str(part.weight.shape) for part in parts)
        raise WeightsError(f"weights {shapes} of {', '.join(chain)} do not join to {bank.weight.shape}") from misfit
    weight = bank.weight.astype(np.float64)
    error = float(np.linalg.norm(weight - made) / max(np.linalg.norm(weight), np.finfo(float).tiny))
    rank = min(len(part.weight) for part in parts[:-1])
    return ChainCertificate(chain, rank, bank.largest_rank, error, 1 - error**2, _bias_change(bank, parts[-1]))


def _bias_change(bank: FilterBank, last: FilterBank) -> float:
    before, after = (np.zeros(len(bank.weight)) if one.bias is None else one.bias for one in (bank, last))
    return float(np.abs(after - before).max())
