"""Ranks: how many basis filters each layer is given."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from caffe_compat.decompose.bank import banks, find_layer
from caffe_compat.decompose.directions import Rank
from caffe_compat.decompose.evbmf import evbmf_rank
from caffe_compat.errors import RankError
from caffe_compat.proto.model import Model
from caffe_compat.proto.reading import read_json

ROUNDING = 1e-12  # of the whole: a share that float64 leaves this little under `keep` counts as reached


def energies(weight: np.ndarray) -> np.ndarray:
    """Squared singular values of the filters as rows, float64, largest first; min(filters, values a filter) of them.

    They are the eigenvalues of the uncentred W W^T (Wen et al. 2017, section 5.2; the fork divides them by
    channels * kernel - 1, which no share notices).
    """
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    gram = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
    values: np.ndarray = np.linalg.eigvalsh(gram)[::-1]
    return values.clip(min=0)


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
    return group * max(_smallest_rank(energies(part), keep**power) for part in np.split(weight, group))


def _smallest_rank(spectrum: np.ndarray, share: float) -> int:
    reached = np.cumsum(spectrum)
    return min(int(np.searchsorted(reached, (share - ROUNDING) * reached[-1])) + 1, len(spectrum))


RankRule = Callable[[np.ndarray, float, int], int]


def ranks_by_energy(
    model: Model, keep: float, inner_product: bool = False, except_layers: Collection[str] = ()
) -> dict[str, int]:
    """`rank_by_energy` of every Convolution, in the net's order; with `inner_product` of InnerProducts too."""
    return _ranks(model, keep, rank_by_energy, inner_product, except_layers)


def ranks_by_norm(
    model: Model, keep: float, inner_product: bool = False, except_layers: Collection[str] = ()
) -> dict[str, int]:
    """`rank_by_norm` of every Convolution, in the net's order; with `inner_product` of InnerProducts too."""
    return _ranks(model, keep, rank_by_norm, inner_product, except_layers)


def _ranks(
    model: Model, keep: float, rule: RankRule, inner_product: bool, except_layers: Collection[str]
) -> dict[str, int]:
    for name in except_layers:
        find_layer(model, name)
    found = banks(model, inner_product).items()
    return {name: rule(bank.weight, keep, bank.group) for name, bank in found if name not in except_layers}


def ranks_by_evbmf(model: Model, except_layers: Collection[str] = ()) -> dict[str, Rank]:
    """The (inputs, outputs) ranks of Tucker-2 for every Convolution with a kernel above 1x1 (Kim et al. 2016).

    Each is the empirical variational Bayes rank of the matching unfolding, the largest over the groups, at least 1.
    """
    ranks: dict[str, Rank] = {}
    for name, bank in banks(model).items():
        if name in except_layers or bank.weight.ndim != 4 or bank.weight[0, 0].size == 1:
            continue
        parts = np.split(bank.weight.astype(np.float64), bank.group)
        inputs = max(evbmf_rank(part.swapaxes(0, 1).reshape(part.shape[1], -1)) for part in parts)
        outputs = max(evbmf_rank(part.reshape(len(part), -1)) for part in parts)
        ranks[name] = (bank.group * max(inputs, 1), bank.group * max(outputs, 1))
    return ranks


def ranks_in_order(
    model: Model, values: Sequence[int], inner_product: bool = False, except_layers: Collection[str] = ()
) -> dict[str, int]:
    """Give `values` to the layers in the net's order, as the fork's --ranks does; RankError unless all are used."""
    names = [name for name in banks(model, inner_product) if name not in except_layers]
    if len(values) != len(names):
        raise RankError(f"{len(values)} ranks were given for {len(names)} layers: {', '.join(names)}")
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


def round_ranks(model: Model, ranks: Mapping[str, int], multiple: int) -> dict[str, int]:
    """Ranks rounded up so that every group's share is a multiple of `multiple`, no further than the largest rank.

    Libraries for convolution are fast at multiples of 8 or 16 channels and can be slower than dense in between.
    """
    if multiple < 1:
        raise RankError(f"multiple is {multiple}; it must be at least 1")
    known = banks(model, inner_product=True)
    rounded = {}
    for name, rank in ranks.items():
        step = multiple * known[name].group if name in known else multiple
        largest = known[name].largest_rank if name in known else rank
        rounded[name] = min(-(-rank // step) * step, largest)
    return rounded
