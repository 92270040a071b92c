"""Ranks under a budget: of every layer one choice, dense or a chain at some rank, so that least energy is lost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from caffe_compat.decompose.bank import FilterBank, banks, has_filters
from caffe_compat.decompose.spectra import energies
from caffe_compat.errors import RankError
from caffe_compat.layers.base import Shape
from caffe_compat.net.cost import layer_costs, layers_with_shapes
from caffe_compat.progress import in_steps
from caffe_compat.proto.model import Model, ModelLike, as_model

BINS = 10_000  # steps into which the budget is divided; a choice's cost is rounded up to a whole step


@dataclass(frozen=True)
class Choice:
    """One way to run a layer: `method` at `rank` (None: dense), its cost, and the share of energy that it keeps."""

    method: str
    rank: int | None
    cost: float
    kept: float = 1.0

    @property
    def loss(self) -> float:
        return -math.log(max(self.kept, 1e-300))


DENSE = "dense"
Table = dict[str, list[Choice]]  # of every layer that can be decomposed, dense first


@dataclass(frozen=True)
class Plan:
    """What `ranks` and `methods` to give `decompose`; cost before and after, in the budget's unit."""

    ranks: dict[str, int]
    methods: dict[str, str]
    before: float
    after: float


def ranks_by_budget(
    model: ModelLike,
    share: float,
    unit: str = "multiply_adds",
    methods: Sequence[str] = ("pca",),
    multiple: int = 1,
    inner_product: bool = False,
    input_shapes: Mapping[str, Shape] | None = None,
) -> Plan:
    """The plan that keeps most energy at `share` of the net's multiply-adds or parameters (`unit`).

    methods: "pca", "svd" or "separable"; several let every layer choose. multiple: every group's rank is a multiple.
    The product over layers of the energy kept is made largest (Zhang et al. 2016), solved as a multiple-choice
    knapsack. Raises RankError for a budget that cannot be met.
    """
    model = as_model(model)
    if unit not in UNITS:
        raise RankError(f"unit is '{unit}'; known: {', '.join(UNITS)}")
    costs = layer_costs(model, input_shapes)
    total = float(sum(getattr(cost, unit) for cost in costs.values()))
    table = analytic_table(model, unit, methods, multiple, inner_product, input_shapes)
    once = unit == "parameters"
    fixed = total - sum(choices[0].cost for choices in tied(model, table, once).values())
    return solve_tied(model, table, share, fixed, once)


def analytic_table(
    model: Model,
    unit: str,
    methods: Sequence[str],
    multiple: int = 1,
    inner_product: bool = False,
    input_shapes: Mapping[str, Shape] | None = None,
) -> Table:
    """The choices of every layer: dense, and each method at every rank that costs less."""
    known = layers_with_shapes(model, input_shapes)
    shapes = {layer.name: (bottoms[0], tops[0]) for layer, bottoms, tops in known if has_filters(layer.param)}
    table: Table = {}
    found = banks(model, inner_product).items()
    for name, bank in in_steps("weighing ranks", found, lambda layer: layer[0]):
        if name not in shapes:
            continue
        per_rank = UNITS[unit]
        dense = bank.weight.size * (math.prod(shapes[name][1][2:]) if unit == "multiply_adds" else 1)
        bias = 0 if bank.bias is None or unit == "multiply_adds" else len(bank.bias)
        table[name] = [Choice(DENSE, None, float(dense + bias))]
        for method in methods:
            if method == "separable" and bank.weight.ndim != 4:
                continue
            step = per_rank(bank, method, *shapes[name])
            kept = kept_energy(bank, method)
            ranks = [rank for rank in kept if rank % (multiple * bank.group) == 0 and rank * step < dense]
            table[name] += [Choice(method, rank, rank * step + bias, kept[rank]) for rank in ranks]
    return table


def kept_energy(bank: FilterBank, method: str) -> dict[int, float]:
    """{rank over all groups: share of the weight's energy that `method` keeps at it}."""
    spectra = []
    for part in np.split(bank.weight, bank.group):
        if method == "separable":
            filters, channels, height, width = part.shape
            part = part.transpose(1, 2, 0, 3).reshape(channels * height, filters * width)
        elif method not in ("pca", "svd"):
            raise RankError(f"method is '{method}'; a budget chooses among pca, svd and separable")
        spectra.append(np.cumsum(energies(part)))
    kept = np.sum(spectra, axis=0)
    return {bank.group * (index + 1): float(value / max(kept[-1], 1e-300)) for index, value in enumerate(kept)}


def solve_tied(model: Model, table: Table, share: float, fixed: float = 0.0, once: bool = False) -> Plan:
    """`solve`, with one choice for all layers that share a weight; once: what they share costs once."""
    plan = solve(tied(model, table, once), share, fixed)
    owner = owners(model)
    names = [name for name in table if owner.get(name, name) in plan.ranks]
    ranks = {name: plan.ranks[owner.get(name, name)] for name in names}
    return Plan(ranks, {name: plan.methods[owner.get(name, name)] for name in names}, plan.before, plan.after)


def owners(model: Model) -> dict[str, str]:
    """{layer: the first layer that has its weight} of layers whose weight has a name."""
    first: dict[str, str] = {}
    named = [(layer.name, layer.param[0].name) for layer in model.net.layer if layer.param and layer.param[0].name]
    return {name: first.setdefault(weight, name) for name, weight in named}


def tied(model: Model, table: Table, once: bool) -> Table:
    """`table` with one entry, that of the owner, for all layers that share a weight.

    Of their choices those that all of them have; costs (but once where they are parameters) and losses add up.
    """
    owner = owners(model)
    together: dict[str, list[list[Choice]]] = {}
    for name, choices in table.items():
        together.setdefault(owner.get(name, name), []).append(choices)
    made: Table = {}
    for name, entries in together.items():
        found = [{(choice.method, choice.rank): choice for choice in choices} for choices in entries]
        common = [key for key in found[0] if all(key in other for other in found)]
        made[name] = [
            Choice(
                *key, sum(each[key].cost for each in (found[:1] if once else found)), found[0][key].kept ** len(found)
            )
            for key in common
        ]
    return made


def solve(table: Table, share: float, fixed: float = 0.0) -> Plan:
    """The choices of least loss whose cost, with `fixed` for the rest of the net, is at most `share` of all dense."""
    before = fixed + sum(choices[0].cost for choices in table.values())
    if not 0 < share <= 1:
        raise RankError(f"budget is {share}; it must be above 0 and at most 1, a share of the net's {before:g}")
    room = share * before - fixed
    least = sum(min(choice.cost for choice in choices) for choices in table.values())
    if least > room:
        raise RankError(
            f"budget {share:g} cannot be met; the least that ranks can reach is {(fixed + least) / before:.3g}"
        )
    chosen = {name: choices[0] for name, choices in table.items()} if share == 1 else _knapsack(table, room)
    low = {name: choice for name, choice in chosen.items() if choice.rank is not None}
    after = fixed + sum(choice.cost for choice in chosen.values())
    return Plan(
        {name: choice.rank for name, choice in low.items() if choice.rank is not None},
        {name: choice.method for name, choice in low.items()},
        before,
        after,
    )


def _knapsack(table: Table, room: float) -> dict[str, Choice]:
    """One choice a layer of least total loss within `room`: dynamic programming over steps of the budget."""
    step = room / BINS
    best = np.zeros(BINS + 1)
    picks = []
    for choices in table.values():
        useful = _undominated(choices)
        sums = np.full((len(useful), BINS + 1), np.inf)
        for index, choice in enumerate(useful):
            steps = math.ceil(choice.cost / step - 1e-9)
            if steps <= BINS:
                sums[index, steps:] = best[: BINS + 1 - steps] + choice.loss
        picks.append((useful, sums.argmin(axis=0)))
        best = sums.min(axis=0)
    if not np.isfinite(best[-1]):  # only rounding up kept the cheapest choices out
        return {name: min(choices, key=lambda choice: choice.cost) for name, choices in table.items()}
    chosen: dict[str, Choice] = {}
    left = BINS
    for name, (useful, pick) in reversed(list(zip(table, picks, strict=True))):
        chosen[name] = useful[pick[left]]
        left -= math.ceil(chosen[name].cost / step - 1e-9)
    return {name: chosen[name] for name in table}


def _undominated(choices: Sequence[Choice]) -> list[Choice]:
    """The choices than which no other is both cheaper and better, cheapest first."""
    kept: list[Choice] = []
    for choice in sorted(choices, key=lambda choice: (choice.cost, choice.loss)):
        if not kept or choice.loss < kept[-1].loss:
            kept.append(choice)
    return kept


def _multiply_adds(bank: FilterBank, method: str, bottom: Shape, top: Shape) -> float:
    """Multiply-adds of a chain for each channel between its links, one item of the batch."""
    filters = len(bank.weight) // bank.group
    if method == "separable":
        _, channels, height, width = map(int, bank.weight.shape)
        return top[2] * bottom[3] * channels * height + math.prod(top[2:]) * filters * width
    return math.prod(top[2:]) * (int(bank.weight[0].size) + filters)


def _parameters(bank: FilterBank, method: str, bottom: Shape, top: Shape) -> float:
    filters = len(bank.weight) // bank.group
    if method == "separable":
        _, channels, height, width = map(int, bank.weight.shape)
        frozen_bias = 0 if bank.bias is None else 1
        return channels * height + filters * width + frozen_bias
    return int(bank.weight[0].size) + filters


UNITS: dict[str, Callable[[FilterBank, str, Shape, Shape], float]] = {
    "multiply_adds": _multiply_adds,
    "parameters": _parameters,
}
