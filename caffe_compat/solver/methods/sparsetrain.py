"""SparseTrain as the fields of a solver and a net ask for it: which layers' gradients are pruned, and how much."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from caffe_compat.net.net import Net
from caffe_compat.solver.methods.layers import FILTER_BANKS
from caffe_compat.solver.methods.method import Entry, Method, hook_forward
from caffe_compat.solver.regularizers.sparsetrain import RULES, prune_gradient, threshold
from caffe_compat.solver.words import at_least, one_of, ratio


@dataclass(frozen=True)
class SparseTrainConfig:
    """The fields gradient_prune_rate, gradient_prune_fifo and gradient_prune_rule."""

    rate: float
    fifo: int
    rule: str


def read_sparsetrain(param: Any) -> SparseTrainConfig | None:
    """The settings of the SolverParameter `param`; None where gradient_prune_rate is 0."""
    ratio("gradient_prune_rate", param.gradient_prune_rate)
    at_least("gradient_prune_fifo", param.gradient_prune_fifo, 1)
    one_of("gradient_prune_rule", param.gradient_prune_rule, RULES)
    if not param.gradient_prune_rate:
        return None
    return SparseTrainConfig(param.gradient_prune_rate, param.gradient_prune_fifo, param.gradient_prune_rule)


class SparseTrain(Method):
    """Prunes the gradient of the top of every Convolution and InnerProduct, at gradient_prune_rate or the layer's rate.

    What goes on to the bottom and to the weights is made of the pruned gradient. The draws are torch's, whose generator
    the side-car keeps; each pass of iter_size is a batch. No time is saved here, where zeros are multiplied too.
    """

    title = "SparseTrain"

    def __init__(self, config: SparseTrainConfig, net: Net) -> None:
        self._config = config
        self._rates: dict[str, float] = {}
        for name, layer in net.layers.items():
            if layer.param.type not in FILTER_BANKS:
                continue
            own = layer.param.gradient_prune_param
            rate = own.rate if own.HasField("rate") else config.rate
            ratio(f"layer '{name}': rate", rate)
            if rate:
                self._rates[name] = rate
                hook_forward(layer, self.title, self._hook(name))
        self.thresholds: dict[str, list[float]] = {name: [] for name in self._rates}
        self.densities: dict[str, float] = {}

    def prune(self, name: str, gradient: Tensor, draws: Tensor | None = None) -> Tensor:
        """The gradient of layer `name` as it goes on; its own threshold counts from the next batch on."""
        own = threshold(gradient, self._rates[name], self._config.rule)
        kept = self.thresholds[name]
        tau = own
        if self._config.rule == "paper":
            tau = sum(kept) / len(kept) if len(kept) == self._config.fifo else 0.0
            self.thresholds[name] = [*kept, own][-self._config.fifo :]
        pruned = gradient
        if tau > 0:
            pruned = prune_gradient(gradient, tau, torch.rand_like(gradient) if draws is None else draws)
        self.densities[name] = float((pruned != 0).double().mean())
        return pruned

    def report(self, weights: list[Tensor]) -> Iterable[str]:
        if self.densities:
            shares = ", ".join(f"{name} {100 * share:.4g}%" for name, share in self.densities.items())
            yield f"{self.title}: gradients left of {shares}"

    def state_dict(self) -> dict[str, Any]:
        return {"thresholds": {name: list(values) for name, values in self.thresholds.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if set(state["thresholds"]) != set(self._rates):
            raise ValueError(f"it has the layers {', '.join(state['thresholds'])}")
        self.thresholds = {name: [float(value) for value in values] for name, values in state["thresholds"].items()}

    def _hook(self, name: str) -> Any:
        def on_forward(module: Any, bottoms: Any, tops: Any) -> None:
            for top in tops if isinstance(tops, tuple) else (tops,):
                if top.requires_grad:
                    top.register_hook(lambda gradient: self.prune(name, gradient))

        return on_forward


ENTRIES = (
    Entry(
        "SparseTrain",
        "gradients of activations are pruned at random, unbiased",
        "a restatement; HaFred/pytorch_imagenet 7b36d84",
        ("gradient_prune_rate", "gradient_prune_fifo", "gradient_prune_rule", "gradient_prune_param { rate }"),
        read_sparsetrain,
        SparseTrainConfig,
        SparseTrain,
    ),
)
