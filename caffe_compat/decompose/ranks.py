"""Ranks: how many basis filters each layer is given."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from caffe_compat.decompose.bank import FilterBank, banks, find_layer
from caffe_compat.decompose.directions import Rank
from caffe_compat.decompose.evbmf import evbmf_rank
from caffe_compat.decompose.method_ranks import rank_of_method
from caffe_compat.decompose.spectra import energies, smallest_rank
from caffe_compat.errors import RankError
from caffe_compat.progress import in_steps
from caffe_compat.proto.model import Model, ModelLike, as_model
from caffe_compat.proto.reading import read_json


def rank_by_energy(weight: np.ndarray, keep: float, group: int = 1) -> int:
    """The smallest rank whose directions hold a share `keep` of the energy (the fork's rule for PCA).

    weight: [filters, channels / group, *kernel] or [outputs, inputs]; keep: in (0, 1], of the sum of squared singular
    values, so that the relative squared error is at most 1 - keep. With groups, every group keeps that share and the
    rank is `group` times the largest of theirs, for Caffe's groups have equal sizes.
    """
    return _rank_over_groups(weight, keep, group)


def rank_by_norm(weight: np.ndarray, keep: float, group: int = 1) -> int:
    """The smallest rank whose directions hold a share `keep` of the norm (the fork's rule for SVD).

    The norm is the root of the energy, so this is rank_by_energy at keep^2: the same number keeps less.
    """
    return _rank_over_groups(weight, keep, group, power=2)


def _rank_over_groups(weight: np.ndarray, keep: float, group: int, power: int = 1) -> int:
    if not 0 < keep <= 1:
        raise RankError(f"keep is {keep}; it must be above 0 and at most 1")
    return group * max(smallest_rank(energies(part), keep**power) for part in np.split(weight, group))


def ranks_by_energy(
    model: ModelLike,
    keep: float,
    inner_product: bool = False,
    except_layers: Collection[str] = (),
    method: str | Mapping[str, str] = "pca",
) -> dict[str, Any]:
    """The smallest rank of every Convolution whose chain keeps a share `keep` of the energy, in the net's order.

    inner_product: of InnerProducts too. method: that of the chain (one for all, or {layer: method}, "pca" where a layer
    is not named), for each has its own energies; "tucker" keeps the share in each of its two modes. RankError for one
    whose energies tell no rank ("cp"), or that cannot decompose a layer.
    """
    model = as_model(model)
    if isinstance(method, str):
        return _ranks(model, lambda bank: rank_of_method(bank, keep, method), inner_product, except_layers)
    for name in method:
        find_layer(model, name)
    chosen = method
    return _ranks(
        model, lambda bank: rank_of_method(bank, keep, chosen.get(bank.layer, "pca")), inner_product, except_layers
    )


def ranks_by_norm(
    model: ModelLike, keep: float, inner_product: bool = False, except_layers: Collection[str] = ()
) -> dict[str, int]:
    """`rank_by_norm` of every Convolution, in the net's order; with `inner_product` of InnerProducts too."""
    model = as_model(model)
    return _ranks(model, lambda bank: rank_by_norm(bank.weight, keep, bank.group), inner_product, except_layers)


def _ranks(
    model: Model, rule: Callable[[FilterBank], Any], inner_product: bool, except_layers: Collection[str]
) -> dict[str, Any]:
    _check_names(model, except_layers)
    found = banks(model, inner_product).items()
    kept = [(name, bank) for name, bank in found if name not in except_layers]
    return {name: rule(bank) for name, bank in in_steps("choosing ranks", kept, lambda layer: layer[0])}


def _check_names(model: Model, names: Collection[str]) -> None:
    """RankError for a name that no layer has."""
    for name in names:
        find_layer(model, name)


def ranks_by_evbmf(model: ModelLike, except_layers: Collection[str] = ()) -> dict[str, Rank]:
    """The (inputs, outputs) ranks of Tucker-2 for every Convolution with a kernel above 1x1 (Kim et al. 2016).

    Each is the empirical variational Bayes rank of the matching unfolding, the largest over the groups, at least 1.
    """
    model = as_model(model)
    _check_names(model, except_layers)
    ranks: dict[str, Rank] = {}
    for name, bank in in_steps("choosing ranks", banks(model).items(), lambda layer: layer[0]):
        if name in except_layers or bank.weight.ndim != 4 or bank.weight[0, 0].size == 1:
            continue
        parts = np.split(bank.weight.astype(np.float64), bank.group)
        inputs = max(evbmf_rank(part.swapaxes(0, 1).reshape(part.shape[1], -1)) for part in parts)
        outputs = max(evbmf_rank(part.reshape(len(part), -1)) for part in parts)
        ranks[name] = (bank.group * max(inputs, 1), bank.group * max(outputs, 1))
    return ranks


def ranks_in_order(
    model: ModelLike, values: Sequence[int], inner_product: bool = False, except_layers: Collection[str] = ()
) -> dict[str, int]:
    """Give `values` to the layers in the net's order, as the fork's --ranks does; RankError unless all are used."""
    model = as_model(model)
    _check_names(model, except_layers)
    names = [name for name in banks(model, inner_product) if name not in except_layers]
    if len(values) != len(names):
        they = f": {', '.join(names)}" if names else ""
        raise RankError(f"{len(values)} ranks were given for {len(names)} layers{they}")
    return dict(zip(names, values, strict=True))


def read_ranks(path: str | Path) -> dict[str, Rank]:
    """Ranks from a JSON file, {layer: rank} or {layer: [inputs, outputs]}; RankError when it holds anything else."""
    found = read_json(path, "a JSON object of layers and ranks", RankError)
    if not isinstance(found, dict):
        raise RankError(f"{path}: a JSON object of layers and ranks is wanted, found a {type(found).__name__}")
    return {name: as_rank(value, f"{path}: layer '{name}'") for name, value in found.items()}


def as_rank(value: object, where: str) -> Rank:
    """`value` as a whole number or a tuple of them; RankError that begins with `where` otherwise."""
    if isinstance(value, list | tuple) and value:
        return tuple(_whole(each, where) for each in value)
    return _whole(value, where)


def _whole(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise RankError(f"{where}: rank is {value!r}; a whole number, or a list of them, is wanted")
    return int(value)


def round_ranks(
    model: ModelLike, ranks: Mapping[str, Any], multiple: int, methods: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Ranks rounded up so that every group's share is a multiple of `multiple`, no further than the largest rank.

    Libraries for convolution are fast at multiples of 8 or 16 channels and can be slower than dense in between.
    methods: {layer: method}, "pca" where a layer is not named; the largest rank of a separable chain is another.
    """
    model = as_model(model)
    if multiple < 1:
        raise RankError(f"multiple is {multiple}; it must be at least 1")
    known = banks(model, inner_product=True) if multiple > 1 else {}
    rounded: dict[str, Any] = {}
    for name, rank in ranks.items():
        if name not in known:
            rounded[name] = rank
            continue
        step = multiple * known[name].group
        largest = _largest(known[name], (methods or {}).get(name, "pca"))
        if isinstance(rank, tuple):
            rounded[name] = tuple(min(-(-each // step) * step, most) for each, most in zip(rank, largest, strict=False))
        else:
            rounded[name] = max(rank, min(-(-rank // step) * step, largest[0]))
    return rounded


def _largest(bank: FilterBank, method: str) -> tuple[int, ...]:
    """The largest rank of a chain; the number of inputs and of outputs for "tucker"."""
    filters, channels, *kernel = bank.weight.shape
    if method == "tucker":
        return bank.group * channels, filters
    if method == "separable" and len(kernel) == 2:
        return (bank.group * min(channels * kernel[0], filters // bank.group * kernel[1]),)
    return (bank.largest_rank,)
