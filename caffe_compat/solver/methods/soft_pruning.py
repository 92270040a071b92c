"""SFP, ASFP, SRFP and ASRFP as the fields of a solver and a net ask for them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import SolverError
from caffe_compat.net.net import Net
from caffe_compat.solver.methods.layers import PrunedLayer, pruned_layers, scale_behind, shortcuts, written
from caffe_compat.solver.methods.method import Entry, Method, Step
from caffe_compat.solver.regularizers.soft_pruning import KEEPS, SMALLEST_ALPHA, alpha, choose_filters, keep_at
from caffe_compat.solver.words import at_least, one_of, ratio

logger = logging.getLogger(__name__)

SOFT = ("SFP", "ASFP", "SRFP", "ASRFP")
HARD = ("Reg_Col", "Reg_Row")  # IncReg
PRUNE_METHODS = ("None", *SOFT, *HARD)
_POLICIES = {"SFP": "fixed", "ASFP": "three_points", "SRFP": "fixed", "ASRFP": "exp"}
ALPHA_POLICIES = ("exp", "fixed")


@dataclass(frozen=True)
class SoftConfig:
    """prune_method, and the fields prune_*; keep is 1 - prune_rate, epochs is prune_max_iter / prune_interval."""

    method: str
    keep: float
    interval: int
    epochs: int
    distance: float
    at_start: bool
    norm: float
    bn: bool
    bias: bool
    first_alpha: float
    sigma: float
    alpha_policy: str
    alpha_end: float
    rate_policy: str
    rate_end: float
    epoch_prune: int
    shortcuts: bool


def read_soft(param: Any) -> SoftConfig | None:
    """The settings of the SolverParameter `param`; None where prune_method is none of these."""
    one_of("prune_method", param.prune_method, PRUNE_METHODS)
    if param.prune_method not in SOFT:
        return None
    ratio("prune_rate", param.prune_rate)
    at_least("prune_interval", param.prune_interval, 1)
    at_least("epoch_prune", param.epoch_prune, 1)
    whole = param.prune_max_iter or param.max_iter
    epochs = whole // param.prune_interval
    if epochs < 1 or whole % param.prune_interval:
        field = "prune_max_iter" if param.prune_max_iter else "max_iter"
        raise SolverError(f"{field} is {whole}; wanted a multiple of prune_interval, {param.prune_interval}")
    for name in ("prune_distance", "prune_alpha_sigma"):
        if not 0 < getattr(param, name) < 1:
            raise SolverError(f"{name} is {getattr(param, name):g}; wanted more than 0 and less than 1")
    for name in ("prune_alpha", "prune_alpha_end", "prune_rate_end"):
        if not 0 <= getattr(param, name) <= 1:
            raise SolverError(f"{name} is {getattr(param, name):g}; wanted a number from 0 to 1")
    at_least("prune_norm", param.prune_norm, 1)
    one_of("prune_alpha_policy", param.prune_alpha_policy, ALPHA_POLICIES)
    if param.prune_rate_policy:
        one_of("prune_rate_policy", param.prune_rate_policy, KEEPS)
    return SoftConfig(
        param.prune_method,
        1 - param.prune_rate,
        param.prune_interval,
        epochs,
        param.prune_distance,
        param.prune_at_start,
        param.prune_norm,
        param.prune_bn,
        param.prune_bias,
        param.prune_alpha if "R" in param.prune_method else 0.0,
        param.prune_alpha_sigma,
        param.prune_alpha_policy,
        param.prune_alpha_end,
        param.prune_rate_policy or _POLICIES[param.prune_method],
        param.prune_rate_end,
        param.epoch_prune,
        param.prune_shortcuts,
    )


class SoftPruning(Method):
    """Chooses filters anew at each prune point, and multiplies them by alpha.

    Prune points are before the first iteration (prune_at_start), after epoch 0, epoch_prune, 2 epoch_prune, ... and
    after the last one, where the rate is prune_rate whatever the policy. Every Convolution takes part: with prune_rate,
    or with the prune_ratio of its prune_param; prune_mult 0 leaves it out. What the last prune point zeroes stays 0.
    """

    kind = "prunes"

    def __init__(self, config: SoftConfig, net: Net) -> None:
        self.title = config.method
        self._config = config
        left_out = set() if config.shortcuts else shortcuts(net)
        self._layers: list[tuple[PrunedLayer, float]] = []
        for layer in pruned_layers(net, config.method):
            mult = net.layers[layer.name].param.prune_param.prune_mult
            if layer.tensor.dim() > 3 and mult and layer.name not in left_out:
                rate = layer.ratio if layer.given else 1 - config.keep
                self._layers.append((layer, 1 - written(rate * mult) if mult != 1 else 1 - rate))
        if not any(keep < 1 for _, keep in self._layers):
            raise SolverError(
                f"prune_method is '{config.method}', but no convolution of net '{net.graph.name}' has filters to lose; "
                "give prune_rate, or prune_param { prune_ratio } in its layers"
            )
        self._scales = [scale_behind(net, layer.name) if config.bn else () for layer, _ in self._layers]
        self.chosen: list[Tensor] | None = None  # at the last prune point of all, whose zeros stay

    @property
    def acts_on(self) -> frozenset[int]:
        return frozenset(layer.weight for layer, _ in self._layers)

    def before_pass(self, step: Step) -> None:
        if step.iteration == 0 and self._config.at_start:
            self._shrink(step.weights, 0)

    def after_update(self, step: Step) -> None:
        if self.chosen is not None:
            for places, chosen in zip(self._places(), self.chosen, strict=True):
                for index in places:
                    step.weights[index].masked_fill_(_along(chosen, step.weights[index]), 0)
            return
        if (step.iteration + 1) % self._config.interval:
            return
        epoch = (step.iteration + 1) // self._config.interval - 1
        last = epoch == self._config.epochs - 1
        if epoch < self._config.epochs and (epoch % self._config.epoch_prune == 0 or last):
            shrunk = self._shrink(step.weights, epoch)
            if last and not self._alpha(epoch):
                self.chosen = shrunk

    def state_dict(self) -> dict[str, Any]:
        return {"method": self.title, "chosen": self.chosen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state["chosen"] is None:
            self.chosen = None
            return
        sizes = [len(chosen) for chosen in state["chosen"]]
        own = [len(layer.tensor) for layer, _ in self._layers]
        if sizes != own:
            raise ValueError(f"it has masks of {sizes} filters, this net {own}")
        device = self._layers[0][0].tensor.device
        self.chosen = [torch.as_tensor(chosen).to(device) for chosen in state["chosen"]]

    def _alpha(self, epoch: int) -> float:
        config = self._config
        if config.alpha_policy == "fixed":
            return config.first_alpha
        value = alpha(epoch, config.epochs, config.first_alpha, config.sigma, config.alpha_end)
        return value if value >= SMALLEST_ALPHA else 0.0

    def _shrink(self, weights: list[Tensor], epoch: int) -> list[Tensor]:
        """Choose by the weights of now and multiply by alpha(epoch); which filters were chosen, by layer."""
        config, factor, every = self._config, self._alpha(epoch), []
        for (layer, keep), places in zip(self._layers, self._places(), strict=True):
            last = epoch == config.epochs - 1
            end = config.rate_end if config.rate_policy != "fixed" else 1.0
            share = keep if last else keep_at(config.rate_policy, epoch, config.epochs, keep, config.distance, end)
            chosen = choose_filters(weights[layer.weight], share, config.norm)
            every.append(chosen)
            for index in places:
                kept = weights[index]
                kept.mul_(torch.where(_along(chosen, kept), factor, 1.0).to(kept.dtype))
        counts = [f"{layer.name} {int(chosen.sum())}" for (layer, _), chosen in zip(self._layers, every, strict=True)]
        logger.info("%s: filters times %.4g: %s", self.title, factor, ", ".join(counts))
        return every

    def _places(self) -> list[list[int]]:
        """The numbers of the parameters that shrink along with the filters of each layer."""
        return [
            [layer.weight, *([layer.bias] if self._config.bias and layer.bias is not None else []), *scales]
            for (layer, _), scales in zip(self._layers, self._scales, strict=True)
        ]


def _along(chosen: Tensor, weight: Tensor) -> Tensor:
    return chosen.view(-1, *[1] * (weight.dim() - 1))


FIELDS = (
    "prune_method", "prune_rate", "prune_interval", "prune_max_iter", "epoch_prune", "prune_at_start", "prune_norm",
    "prune_bn", "prune_bias", "prune_shortcuts", "prune_rate_policy", "prune_rate_end", "prune_distance",
    "prune_param { prune_ratio prune_mult }",
)  # fmt: skip
_ALPHAS = ("prune_alpha", "prune_alpha_policy", "prune_alpha_sigma", "prune_alpha_end")
_DOES = {
    "SFP": "filters of least norm become 0 after every epoch, and may grow back",
    "ASFP": "the same at a rate that grows",
    "SRFP": "filters of least norm shrink by a factor that falls to 0",
    "ASRFP": "the same at a rate that grows",
}
_SOURCES = {"SFP": "he-y/soft-filter-pruning 919c399", "ASFP": "third parties, see solver/regularizers/soft_pruning.py"}
ENTRIES = tuple(
    Entry(
        method,
        does,
        _SOURCES.get(method, "cailinhang/PGMPF 09221a1"),
        FIELDS + (_ALPHAS if "R" in method else ()),
        read_soft,
        SoftConfig,
        SoftPruning,
    )
    for method, does in _DOES.items()
)
