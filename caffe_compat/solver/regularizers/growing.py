"""GReg (Wang et al., ICLR 2021): an L2 penalty on some groups of weights grows until they are nearly gone.

    diff += lambda_g w    for every w of group g; a group is a filter, an input channel, or one weight

One update of the lambdas of a layer, every update_reg_interval iterations, with the score mean |w| of each group:

    GReg-1   the groups of least score at the start are to go: lambda += granularity_prune for those
    GReg-2   lambda += granularity_pick for all groups until the largest reaches upper_limit_pick: then those of
             least score are to go, and from the next update on lambda += granularity_prune for those, and
             lambda = granularity_recover, below 0, for those that stay

A layer is finished when the moving average, 0.9 old + 0.1 new, of mean(score that stays) / mean(score that goes)
reaches mag_ratio_limit (GReg-1: in every layer that has one; GReg-2: in the layer itself, never before the pick), or
its largest lambda is above upper_limit; it then keeps its lambdas. As pruner/reg_pruner.py of
MingSun-Tse/Regularization-Pruning at a404402; single weights have no average there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from caffe_compat.solver.regularizers.registry import register

GROUPS = ("filter", "channel", "weight")
PICKS = ("min", "max", "rand")
METHODS = ("GReg-1", "GReg-2")


@dataclass(frozen=True)
class GrowingConfig:
    """The fields growing_reg, reg_*, mag_ratio_limit, the two intervals, prune_group and pick_pruned."""

    method: str
    granularity_prune: float
    granularity_pick: float
    granularity_recover: float
    upper_limit: float
    upper_limit_pick: float
    mag_ratio_limit: float
    update_interval: int
    stabilize_interval: int
    group: str
    pick: str


@dataclass(frozen=True)
class Growing:
    """One layer. penalty: lambda of each group, (groups,), dtype of the weights.

    goes: which groups are to go, (groups,) bool; None before that is known. average: of the ratio, None before the
    first. finished, picked: the iteration in which it was or they were, -1 before.
    """

    penalty: Tensor
    goes: Tensor | None = None
    average: float | None = None
    finished: int = -1
    picked: int = -1


@register("GReg")
def growing(weights: list[Tensor], gradients: list[Tensor], layers: Sequence[tuple[int, Growing]], group: str) -> None:
    """Add lambda_g w to the gradients, in place; layers: (number of the weight in Caffe's order, its state)."""
    for index, layer in layers:
        gradients[index].addcmul_(weights[index], spread(layer.penalty, weights[index], group))


def spread(values: Tensor, weight: Tensor, group: str) -> Tensor:
    """Values of the groups of `weight`, (groups,), in a shape that goes with the weight's."""
    if group == "weight":
        return values.view(weight.shape)
    axis = 0 if group == "filter" else 1
    return values.view([-1 if place == axis else 1 for place in range(weight.dim())])


def scores(weight: Tensor, group: str) -> Tensor:
    """mean |w| of each group, (groups,)."""
    if group == "weight":
        return weight.abs().flatten()
    matrix = weight.abs() if group == "filter" else weight.abs().transpose(0, 1)
    return matrix.flatten(1).mean(1)


def count_to_prune(groups: int, ratio: float) -> int:
    """How many of `groups` go: none for ratio 0, else ceil(ratio groups), and one fewer than all at the most."""
    return min(math.ceil(ratio * groups), groups - 1) if ratio else 0


def choose(score: Tensor, ratio: float, pick: str) -> Tensor:
    """Which groups go, (groups,) bool: those of least score ("min"), of largest ("max"), or any ("rand")."""
    count = count_to_prune(len(score), ratio)
    if pick == "rand":
        order = torch.randperm(len(score)).to(score.device)
    else:
        order = torch.sort(score, stable=True, descending=pick == "max").indices
    goes = torch.zeros(len(score), dtype=torch.bool, device=score.device)
    goes[order[:count]] = True
    return goes


def update(
    layers: Sequence[Growing], weights: Sequence[Tensor], ratios: Sequence[float], config: GrowingConfig, iteration: int
) -> list[Growing]:
    """The states after one update of all layers, in their order: a later one sees the new averages of earlier ones."""
    states = list(layers)
    for place, (weight, ratio) in enumerate(zip(weights, ratios, strict=True)):
        if states[place].finished >= 0:
            continue
        if not ratio:
            nothing = torch.zeros(len(states[place].penalty), dtype=torch.bool, device=weight.device)
            states[place] = replace(states[place], goes=nothing, finished=iteration, picked=iteration)
            continue
        states[place] = _UPDATES[config.method](states[place], scores(weight, config.group), ratio, config, iteration)
        if _is_finished(states, place, config):
            states[place] = replace(states[place], finished=iteration)
    return states


def _push(layer: Growing, score: Tensor, ratio: float, config: GrowingConfig, iteration: int) -> Growing:
    """GReg-1."""
    goes = choose(score, ratio, config.pick) if layer.goes is None else layer.goes
    penalty = layer.penalty + config.granularity_prune * goes
    return replace(layer, penalty=penalty, goes=goes, average=_average(layer, score, goes, config), picked=0)


def _pick_and_push(layer: Growing, score: Tensor, ratio: float, config: GrowingConfig, iteration: int) -> Growing:
    """GReg-2."""
    if layer.goes is not None:
        pushed = (layer.penalty + config.granularity_prune).where(layer.goes, config.granularity_recover)
        return replace(layer, penalty=pushed, average=_average(layer, score, layer.goes, config))
    penalty, tentative = layer.penalty + config.granularity_pick, choose(score, ratio, config.pick)
    layer = replace(layer, penalty=penalty, average=_average(layer, score, tentative, config))
    if float(penalty.max()) < config.upper_limit_pick:
        return layer
    return replace(layer, goes=tentative, picked=iteration)


_UPDATES = {"GReg-1": _push, "GReg-2": _pick_and_push}


def _average(layer: Growing, score: Tensor, goes: Tensor, config: GrowingConfig) -> float | None:
    if config.group == "weight":
        return None
    ratio = float(score[~goes].mean() / score[goes].mean())
    return ratio if layer.average is None else 0.9 * layer.average + 0.1 * ratio


def _is_finished(states: Sequence[Growing], place: int, config: GrowingConfig) -> bool:
    own = states[place]
    if own.goes is None or (config.method == "GReg-2" and own.picked < 0):
        return False
    counted = states if config.method == "GReg-1" else [own]
    averages = [state.average for state in counted if state.average is not None]
    apart = bool(averages) and all(average >= config.mag_ratio_limit for average in averages)
    return apart or float(own.penalty.max()) > config.upper_limit
