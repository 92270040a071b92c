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
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import SolverError
from caffe_compat.net.net import Net
from caffe_compat.solver.methods.layers import FILTER_BANKS
from caffe_compat.solver.methods.method import Entry, Method, Step, hook_bottoms, hook_forward
from caffe_compat.solver.methods.units import Unit, find_units, paths
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
        self._parts: dict[str, list[Tensor]] = {}
        self._maps: dict[str, tuple[int, int]] = {}  # images, places of the output, of the last pass
        for name, layer in self._banks.items():
            hook_forward(layer, self.title, self._measure(name))
        for name in {place.layer for unit in self.units for place in unit.reads}:
            hook_bottoms(self._banks[name], self.title, self._listen(name))
        self._paths = paths(net)
        self._owners = self._find_owners()
        self.scores = torch.zeros(len(self.units), dtype=torch.float64)
        self.gone: list[int] = []
        self._masks: dict[int, Tensor] = {}
        self.ended = False

    @property
    def acts_on(self) -> frozenset[int]:
        return frozenset(self._places[name, 0] for name in self._banks if (name, 0) in self._places)

    def before_pass(self, step: Step) -> None:
        self._parts = {}
        self._mask(step.weights)

    def after_pass(self, step: Step, gradients: list[Tensor]) -> None:
        self.scores += self.interval_scores()
        for index, kept in self._masks.items():
            gradients[index].masked_fill_(~kept, 0)

    def interval_scores(self) -> Tensor:
        """What the passes of this iteration add to the score of each unit: (units,), float64."""
        added = torch.zeros(len(self.units), dtype=torch.float64)
        passes = max((len(parts) for parts in self._parts.values()), default=0)
        for k in range(passes):
            total: Tensor | None = None
            for name, parts in self._parts.items():
                if k >= len(parts) or not parts[k].dim():
                    continue
                part = parts[k].double().cpu()
                total = part.new_zeros(len(part), len(self.units)) if total is None else total
                channels, units = self._owners[name]
                total.index_add_(1, units, part[:, channels])
            if total is not None:
                added += total.square().sum(0)
        return added

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
        measure = self._activations if self._config.delta == "ACTS" else self._multiply_adds
        return [measure(unit) for unit in self.units]

    def report(self, weights: list[Tensor]) -> Iterable[str]:
        if self._maps:
            flops, acts = self.left()
            shares = f"{100 * flops:.4g}% of multiply-adds, {100 * acts:.4g}% of activations"
            yield f"{self.title}: {len(self.gone)} gone, left are {shares}"

    def left(self) -> tuple[float, float]:
        """The shares of multiply-adds and of activations that are left, of the layers that this is about."""
        spent, whole = [0.0, 0.0], [0.0, 0.0]
        for name, layer in self._banks.items():
            images, places = self._maps[name]
            outputs, inputs = self._widths(layer)
            for total, out, into in ((whole, outputs, inputs), (spent, self._outputs(name), self._inputs(name))):
                total[0] += images * places * self._taps(layer) * out * into / self._group(layer)
                total[1] += images * places * out
        return spent[0] / whole[0], spent[1] / whole[1]

    def state_dict(self) -> dict[str, Any]:
        return {"scores": self.scores, "gone": list(self.gone), "ended": self.ended, "units": len(self.units)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state["units"] != len(self.units):
            raise ValueError(f"it has {state['units']} units of channels, this net {len(self.units)}")
        self.scores = torch.as_tensor(state["scores"], dtype=torch.float64)
        self.gone, self.ended = [int(number) for number in state["gone"]], bool(state["ended"])
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

    def _activations(self, unit: Unit) -> float:
        """A maker counts once for coupled readers, and as often as its output reaches it for a single one."""
        times = self._reached(unit)
        return float(sum(math.prod(self._maps[p.layer]) * len(p.indices) * times.get(p.layer, 1) for p in unit.writes))

    def _reached(self, unit: Unit) -> Counter[str]:
        readers = {self._places.get((place.layer, 0)) for place in unit.reads}
        if len(readers) > 1:
            return Counter()
        return sum((self._paths[place.layer] for place in unit.reads), Counter())

    def _multiply_adds(self, unit: Unit) -> float:
        total = 0.0
        for places, others in ((unit.reads, self._outputs), (unit.writes, self._inputs)):
            for place in places:
                layer = self._banks[place.layer]
                each = math.prod(self._maps[place.layer]) * self._taps(layer) * others(place.layer)
                total += each / self._group(layer)
        return total

    def _widths(self, layer: Any) -> tuple[int, int]:
        weight = layer.blob(0)
        return weight.shape[0], weight.shape[1] * self._group(layer)

    def _outputs(self, name: str) -> int:
        gone = {i for n in self.gone for p in self.units[n].writes if p.layer == name for i in p.indices}
        return self._widths(self._banks[name])[0] - len(gone)

    def _inputs(self, name: str) -> int:
        gone = {i for n in self.gone for p in self.units[n].reads if p.layer == name for i in p.indices}
        return self._widths(self._banks[name])[1] - len(gone)

    @staticmethod
    def _group(layer: Any) -> int:
        return int(getattr(layer, "group", 1))

    @staticmethod
    def _taps(layer: Any) -> int:
        return math.prod(layer.blob(0).shape[2:])

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
                group = self._group(layer)
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

    def _measure(self, name: str) -> Any:
        def on_forward(module: Any, bottoms: Any, tops: Any) -> None:
            every = tops if isinstance(tops, tuple) else (tops,)
            if not torch.is_grad_enabled():
                return
            self._maps[name] = (every[0].shape[0], sum(math.prod(top.shape[2:]) for top in every))

        return on_forward

    def _listen(self, name: str) -> Any:
        """The gradient that layer `name` alone gives each bottom: through a view of its own."""

        def on_bottoms(module: Any, bottoms: Any) -> Any:
            if not torch.is_grad_enabled():
                return None
            calls = self._parts.setdefault(name, [])
            place, flat = len(calls), module.param.type == "InnerProduct"
            calls.append(torch.zeros(()))
            views = []
            for bottom in bottoms:
                views.append(bottom.view_as(bottom) if bottom.requires_grad else bottom)
                if bottom.requires_grad:
                    values = bottom.detach()
                    views[-1].register_hook(lambda g, a=values: self._take(calls, place, flat, a, g))
            return tuple(views)

        return on_bottoms

    @staticmethod
    def _take(calls: list[Tensor], place: int, flat: bool, activation: Tensor, gradient: Tensor) -> None:
        product = activation * gradient
        calls[place] = calls[place] + (product.flatten(1) if flat else product.flatten(2).sum(2))


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
