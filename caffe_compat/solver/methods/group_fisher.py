"""Group Fisher pruning (Liu et al., ICML 2021): while a net trains, the channels that it would miss least go.

With a mask m on the input channels of each Convolution and InnerProduct, of image n and channel i

    dL_n / dm_i = sum over the map of A dL / dA      s_i = sum over images of (sum over coupled layers of dL_n / dm_i)^2

and every `interval` iterations the unit of least s_i / delta_i goes, and s starts anew. delta ACTS: the activations
of the batch that vanish with it, / 1e6; FLOPS: the multiply-adds of its readers and makers as they are now, / 1e9. As
detection/tools/fisher_pruning.py of jshilong/FisherPruning at 456106c, and for grouped and depthwise convolutions,
concatenations and fully connected layers, which that does not handle, by the paper's rules.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import SolverError
from caffe_compat.net.net import Net
from caffe_compat.solver.methods.layers import FILTER_BANKS
from caffe_compat.solver.methods.listening import Listener
from caffe_compat.solver.methods.method import Entry, Method, Step
from caffe_compat.solver.methods.savings import Savings, group_of
from caffe_compat.solver.methods.units import Unit, find_units
from caffe_compat.solver.words import at_least, ratio

logger = logging.getLogger(__name__)

DELTAS = {"ACTS": 1e6, "FLOPS": 1e9, "NONE": 1.0}


@dataclass(frozen=True)
class FisherConfig:
    """The fields of fisher_pruning."""

    delta: str
    interval: int
    target_flops: float
    target_acts: float
    max_prunings: int
    min_channels: int


def read_fisher(param: Any) -> FisherConfig | None:
    """The settings of the SolverParameter `param`; None where it has no fisher_pruning."""
    if not param.HasField("fisher_pruning"):
        return None
    own = param.fisher_pruning
    at_least("fisher_pruning interval", own.interval, 1)
    at_least("fisher_pruning min_channels", own.min_channels, 1)
    at_least("fisher_pruning max_prunings", own.max_prunings, 0)
    ratio("fisher_pruning target_flops", own.target_flops)
    ratio("fisher_pruning target_acts", own.target_acts)
    if not (own.max_prunings or own.target_flops or own.target_acts):
        raise SolverError("fisher_pruning has no end; give target_flops, target_acts or max_prunings")
    delta = type(own).Delta.Name(own.delta)
    return FisherConfig(delta, own.interval, own.target_flops, own.target_acts, own.max_prunings, own.min_channels)


class GroupFisher(Method):
    """units: what may go, in net order. scores: of each, in this interval. gone: numbers of units, in their order."""

    title = "Group Fisher"
    kind = "prunes"

    def __init__(self, config: FisherConfig, net: Net) -> None:
        self._config, self._net = config, net
        banks = {name: layer for name, layer in net.layers.items() if layer.param.type in FILTER_BANKS}
        self.units, self._sizes = find_units(net, [n for n, each in banks.items() if not each.param.prune_param.prune])
        if not self.units:
            raise SolverError(
                f"fisher_pruning: no channel of net '{net.graph.name}' may go; see its Concat, LRN, outputs"
            )
        self._banks = {
            name: banks[name] for unit in self.units for name in {p.layer for p in (*unit.reads, *unit.writes)}
        }
        self._places = {user: index for index, p in enumerate(net.learnable_params) for user in p.users}
        order = {node.name: place for place, node in enumerate(net.graph.nodes)}
        self.units.sort(key=lambda unit: self._rank(unit, order))
        self._owners = self._find_owners()
        self._listener = Listener(self.title, self._banks, self._owners)
        self.scores = torch.zeros(len(self.units), dtype=torch.float64)
        self.gone: list[int] = []
        self._savings = Savings(net, self.units, self._banks, self._places, self.gone, self._listener.maps)
        self._masks: dict[int, Tensor] = {}
        self.ended = False

    @property
    def acts_on(self) -> frozenset[int]:
        return frozenset(self._places[name, 0] for name in self._banks if (name, 0) in self._places)

    def before_pass(self, step: Step) -> None:
        self._listener.forget()
        self._mask(step.weights)

    def after_pass(self, step: Step, gradients: list[Tensor]) -> None:
        self.scores += self.interval_scores()
        for index, kept in self._masks.items():
            gradients[index].masked_fill_(~kept, 0)

    def interval_scores(self) -> Tensor:
        """What the passes of this iteration add to the score of each unit: (units,), float64."""
        return self._listener.scores(len(self.units), self._owners)

    def after_update(self, step: Step) -> None:
        self._mask(step.weights)
        if self.ended or (step.iteration + 1) % self._config.interval:
            return
        number = self._least()
        if number is not None:
            self.gone.append(number)
            self._make_masks(step.weights)
            self._mask(step.weights)
            names = ", ".join(f"{place.layer} {list(place.indices)}" for place in self.units[number].reads)
            logger.info("%s: iteration %d: inputs of %s go", self.title, step.iteration + 1, names)
        self.scores.zero_()
        self.ended = number is None or self._is_met()

    def deltas(self) -> list[float]:
        """What the score of each unit is divided by, before the division by 1e6 or 1e9."""
        if self._config.delta == "NONE":
            return [1.0] * len(self.units)
        measure = self._savings.activations if self._config.delta == "ACTS" else self._savings.multiply_adds
        return [measure(unit) for unit in self.units]

    def report(self, weights: list[Tensor]) -> Iterable[str]:
        if self._listener.maps:
            flops, acts = self.left()
            shares = f"{100 * flops:.4g}% of multiply-adds, {100 * acts:.4g}% of activations"
            yield f"{self.title}: {len(self.gone)} gone, left are {shares}"

    def left(self) -> tuple[float, float]:
        """The shares of multiply-adds and of activations that are left, of the layers that this is about."""
        return self._savings.left()

    def state_dict(self) -> dict[str, Any]:
        return {"scores": self.scores, "gone": list(self.gone), "ended": self.ended, "units": len(self.units)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state["units"] != len(self.units):
            raise ValueError(f"it has {state['units']} units of channels, this net {len(self.units)}")
        self.scores = torch.as_tensor(state["scores"], dtype=torch.float64)
        self.gone[:], self.ended = [int(number) for number in state["gone"]], bool(state["ended"])
        self._make_masks([param.tensor.detach() for param in self._net.learnable_params])

    def _find_owners(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Layer -> its input channels, and the number of the unit that each of them belongs to."""
        found: dict[str, tuple[list[int], list[int]]] = {}
        for number, unit in enumerate(self.units):
            for place in unit.reads:
                channels, units = found.setdefault(place.layer, ([], []))
                channels.extend(place.indices)
                units.extend([number] * len(place.indices))
        return {name: (torch.tensor(channels), torch.tensor(units)) for name, (channels, units) in found.items()}

    def _rank(self, unit: Unit, order: Mapping[str, int]) -> tuple[bool, int, tuple[int, ...]]:
        """The order in which equal scores go: single layers as in the net, then coupled ones from the net's end."""
        coupled = len({self._places.get((place.layer, 0)) for place in unit.reads}) > 1
        ends = [order[place.layer] for place in unit.reads]
        return coupled, -max(ends) if coupled else min(ends), unit.reads[0].indices

    def _least(self) -> int | None:
        """The unit that goes: of least score / delta, the first of equals; layers of zeros alone do not count."""
        live: dict[int, int] = dict(self._sizes)
        for number in self.gone:
            for each, _ in self.units[number].members:
                live[each] -= 1
        alive = {number for number in range(len(self.units)) if number not in self.gone}
        scored = {self.units[n].reads[0].layer for n in range(len(self.units)) if self.scores[n] > 0}
        scale, best, least = DELTAS[self._config.delta], None, math.inf
        for number, delta in enumerate(self.deltas()):
            unit = self.units[number]
            lost: dict[int, int] = {}
            for each, _ in unit.members:
                lost[each] = lost.get(each, 0) + 1
            stays = all(live[each] - count >= self._config.min_channels for each, count in lost.items())
            if number not in alive or not stays or unit.reads[0].layer not in scored:
                continue
            value = float(self.scores[number]) / (max(delta, 1.0) / scale)
            if value < least:
                best, least = number, value
        return best

    def _is_met(self) -> bool:
        config = self._config
        if config.max_prunings and len(self.gone) >= config.max_prunings:
            return True
        flops, acts = self.left()
        return bool(
            (config.target_flops and flops <= config.target_flops)
            or (config.target_acts and acts <= config.target_acts)
        )

    def _make_masks(self, weights: list[Tensor]) -> None:
        """Of each weight and bias that lost something, where it is left."""
        self._masks = {}
        for number in self.gone:
            unit = self.units[number]
            for place in unit.writes:
                for blob in (0, 1):
                    if (place.layer, blob) in self._places:
                        self._keep(weights, place.layer, blob)[list(place.indices)] = False
            for place in unit.reads:
                layer, kept = self._banks[place.layer], self._keep(weights, place.layer, 0)
                group = group_of(layer)
                if group == 1:
                    kept[:, list(place.indices)] = False
                    continue
                rows, width = len(kept) // group, kept.shape[1]
                for index in place.indices:
                    part = index // width
                    kept[part * rows : (part + 1) * rows, index % width] = False

    def _keep(self, weights: list[Tensor], layer: str, blob: int) -> Tensor:
        index = self._places[layer, blob]
        if index not in self._masks:
            self._masks[index] = torch.ones_like(weights[index], dtype=torch.bool)
        return self._masks[index]

    def _mask(self, weights: list[Tensor]) -> None:
        for index, kept in self._masks.items():
            weights[index].masked_fill_(~kept, 0)


ENTRIES = (
    Entry(
        "Group Fisher",
        "the coupled channels that the loss would miss least go, one by one",
        "jshilong/FisherPruning 456106c and the paper",
        (
            "fisher_pruning { delta interval target_flops target_acts max_prunings min_channels }",
            "prune_param { prune }",
        ),
        read_fisher,
        FisherConfig,
        GroupFisher,
    ),
)
