"""GReg as the fields of a solver and a net ask for it: grow, stabilize, prune, fine-tune, in one run."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import SolverError
from caffe_compat.net.net import Net
from caffe_compat.solver.methods.layers import PrunedLayer, pruned_layers
from caffe_compat.solver.methods.method import Entry, Method, Step
from caffe_compat.solver.regularizers.growing import (
    GROUPS,
    METHODS,
    PICKS,
    Growing,
    GrowingConfig,
    count_to_prune,
    growing,
    spread,
    update,
)
from caffe_compat.solver.words import at_least, finite, one_of

logger = logging.getLogger(__name__)


def read_growing(param: Any) -> GrowingConfig | None:
    """The settings of the SolverParameter `param`; None where it has no growing_reg."""
    if not param.growing_reg:
        return None
    one_of("growing_reg", param.growing_reg, METHODS)
    one_of("prune_group", param.prune_group, GROUPS)
    one_of("pick_pruned", param.pick_pruned, PICKS)
    for name in ("reg_granularity_prune", "reg_granularity_pick", "reg_upper_limit", "reg_upper_limit_pick"):
        at_least(name, getattr(param, name), 0)
    finite("reg_granularity_recover", param.reg_granularity_recover)
    at_least("mag_ratio_limit", param.mag_ratio_limit, 0)
    at_least("update_reg_interval", param.update_reg_interval, 1)
    at_least("stabilize_reg_interval", param.stabilize_reg_interval, 0)
    return GrowingConfig(
        param.growing_reg,
        param.reg_granularity_prune,
        param.reg_granularity_pick,
        param.reg_granularity_recover,
        param.reg_upper_limit,
        param.reg_upper_limit_pick,
        param.mag_ratio_limit,
        param.update_reg_interval,
        param.stabilize_reg_interval,
        param.prune_group,
        param.pick_pruned,
    )


class GReg(Method):
    """lambda of every group, until all layers are finished at iteration t0; they stay for stabilize_reg_interval more.

    Before iteration t0 + stabilize_reg_interval + 1 the groups that go become 0 (of filters the bias too), the history
    is cleared, and the lambdas are gone: what follows is fine-tuning, in which the zeros stay.
    """

    kind = "prunes"

    def __init__(self, config: GrowingConfig, net: Net) -> None:
        self.title = config.method
        self._config = config
        self._layers = pruned_layers(net, config.method)
        if not any(layer.ratio for layer in self._layers):
            raise SolverError(
                f"growing_reg is '{config.method}', but no layer of net '{net.graph.name}' has a prune_ratio; "
                "add prune_param { prune_ratio: 0.5 } to those that should lose groups"
            )
        for layer in self._layers:
            _check_groups(layer, config)
        self.states = [Growing(layer.tensor.new_zeros(self._groups(layer))) for layer in self._layers]
        self.pruned_at = -1  # the iteration before which the groups went

    @property
    def acts_on(self) -> frozenset[int]:
        return frozenset(layer.weight for layer in self._layers if layer.ratio)

    @property
    def finished_at(self) -> int:
        """The iteration in which the last layer was finished; -1 before."""
        finished = [state.finished for state in self.states]
        return -1 if min(finished) < 0 else max(finished)

    def before_pass(self, step: Step) -> None:
        if self.states[0].penalty.dtype != step.weights[0].dtype:  # a net made .double()
            self.states = [Growing(state.penalty.to(step.weights[0].dtype)) for state in self.states]
        ends = self.finished_at + self._config.stabilize_interval + 1
        if self.pruned_at < 0 and self.finished_at >= 0 and step.iteration >= ends:
            self.pruned_at = step.iteration
            for blob in step.history:
                blob.zero_()
            self._mask(step.weights)
            counts = (
                f"{layer.name} {int(s.goes.sum())}" for layer, s in self._pairs if s.goes is not None and layer.ratio
            )
            logger.info("Iteration %d: %s prunes: %s", step.iteration, self.title, ", ".join(counts))

    def regularize(self, step: Step, gradients: list[Tensor]) -> None:
        if self.pruned_at >= 0:
            return
        if self.finished_at < 0 and step.iteration % self._config.update_interval == 0:
            weights = [step.weights[layer.weight] for layer in self._layers]
            self.states = update(
                self.states, weights, [layer.ratio for layer in self._layers], self._config, step.iteration
            )
        pairs = [(layer.weight, state) for layer, state in self._pairs if layer.ratio]
        growing(step.weights, gradients, pairs, self._config.group)

    def after_update(self, step: Step) -> None:
        if self.pruned_at >= 0:
            self._mask(step.weights)

    def report(self, weights: list[Tensor]) -> Iterable[str]:
        for layer, state in self._pairs:
            if layer.ratio and self.pruned_at < 0:
                ratio = "" if state.average is None else f", kept / pruned {state.average:.4g}"
                yield f"{layer.name}: largest lambda {float(state.penalty.max()):.4g}{ratio}"

    def state_dict(self) -> dict[str, Any]:
        return {
            "pruned_at": self.pruned_at,
            "layers": {
                layer.name: {
                    "penalty": state.penalty,
                    "goes": state.goes,
                    "average": state.average,
                    "finished": state.finished,
                    "picked": state.picked,
                }
                for layer, state in self._pairs
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        loaded = []
        for layer, own in self._pairs:
            if layer.name not in state["layers"]:
                raise ValueError(f"it has nothing of layer '{layer.name}'")
            stored = dict(state["layers"][layer.name])
            penalty = torch.as_tensor(stored["penalty"]).to(own.penalty.device)
            if penalty.shape != own.penalty.shape:
                raise ValueError(f"layer '{layer.name}' has {len(penalty)} groups there, {len(own.penalty)} here")
            goes = None if stored["goes"] is None else torch.as_tensor(stored["goes"]).to(penalty.device)
            loaded.append(Growing(penalty, goes, stored["average"], stored["finished"], stored["picked"]))
        self.states, self.pruned_at = loaded, int(state["pruned_at"])

    @property
    def _pairs(self) -> list[tuple[PrunedLayer, Growing]]:
        return list(zip(self._layers, self.states, strict=True))

    def _groups(self, layer: PrunedLayer) -> int:
        shape = layer.tensor.shape
        return {"filter": shape[0], "channel": shape[1], "weight": shape.numel()}[self._config.group]

    def _mask(self, weights: list[Tensor]) -> None:
        """Set to 0 what went."""
        for layer, state in self._pairs:
            if state.goes is None or not layer.ratio:
                continue
            weights[layer.weight].masked_fill_(spread(state.goes, weights[layer.weight], self._config.group), 0)
            if self._config.group == "filter" and layer.bias is not None:
                weights[layer.bias].masked_fill_(state.goes, 0)


def _check_groups(layer: PrunedLayer, config: GrowingConfig) -> None:
    shape = tuple(layer.tensor.shape)
    count = {"filter": shape[0], "channel": shape[1], "weight": layer.tensor.numel()}[config.group]
    if layer.ratio and count_to_prune(count, layer.ratio) == 0:
        raise SolverError(
            f"layer '{layer.name}': prune_ratio {layer.ratio:g} of {count} {config.group}s leaves none to go"
        )


ENTRIES = tuple(
    Entry(
        method,
        does,
        "MingSun-Tse/Regularization-Pruning a404402",
        (
            "growing_reg", "reg_granularity_prune", "reg_granularity_pick", "reg_granularity_recover",
            "reg_upper_limit", "reg_upper_limit_pick", "mag_ratio_limit", "update_reg_interval",
            "stabilize_reg_interval", "prune_group", "pick_pruned", "prune_param { prune_ratio }",
        ),
        read_growing,
        GrowingConfig,
        GReg,
    )
    for method, does in (
        ("GReg-1", "a penalty grows on the groups of least magnitude until they can go"),
        ("GReg-2", "a penalty grows on all groups until it tells them apart, then on those that go"),
    )
)  # fmt: skip
