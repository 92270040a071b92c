"""IncReg (Reg_Col, Reg_Row) as the fields of a solver and a net ask for it; layers follow one another's channels."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caffe_compat.errors import SolverError
from caffe_compat.net.net import Net
from caffe_compat.solver.methods.increg_fields import IncRegRun, read_increg
from caffe_compat.solver.methods.increg_layers import FIRST_STEP, Goals, LayerState, restored
from caffe_compat.solver.methods.layers import PrunedLayer, pruned_layers
from caffe_compat.solver.methods.links import links, multiply_adds
from caffe_compat.solver.methods.method import Entry, Method, Run, Step
from caffe_compat.solver.methods.retraining import Retraining, check_accuracy
from caffe_compat.solver.regularizers.increg import Groups, step_groups, target_multiplier

logger = logging.getLogger(__name__)

LARGEST_TARGET = 10.0


class IncReg(Method):
    """Layers in the order of the net; each is finished at its prune_ratio, all of them at `speedup`.

    A channel that none of its readers reads any more takes along the filters that make it (Reg_Col); a filter that went
    takes along the columns that read it (Reg_Row). The code finds its neighbour by the number of the layer; here it is
    the graph that tells (graph/channels.py), so that branches and residual nets work too. Their learning rate stays
    that of the first iteration while this acts; here lr_policy acts until retraining begins.
    """

    kind = "prunes"

    def __init__(self, wanted: IncRegRun, net: Net) -> None:
        config = wanted.penalties
        self.title, self._config, self._wanted = config.method, config, wanted.retrain
        every = pruned_layers(net, config.method)
        self._convolutions = {layer.name: layer for layer in every if layer.tensor.dim() > 2}
        self._layers = [layer for layer in every if layer.given or layer.name in self._convolutions]
        if not any(layer.ratio for layer in self._layers):
            raise SolverError(
                f"prune_method is '{config.method}', but no layer of net '{net.graph.name}' has a prune_ratio; "
                "add prune_param { prune_ratio: 0.5 } to those that should lose groups"
            )
        params = {layer.name: net.layers[layer.name].param.prune_param for layer in self._layers}
        self.goals = Goals(
            {name: float(param.prune_ratio) for name, param in params.items()},
            {name: float(param.prune_ratio_step) for name, param in params.items()},
        )
        self._macs = multiply_adds(net, [layer.name for layer in every] if wanted.counts_dense else self._convolutions)
        followed = {name: layer for name, layer in self._convolutions.items() if params[name].IF_update_row_col}
        self._links = links(net, followed) if config.update_row_col else []
        self.states: dict[str, LayerState] = {}
        self.speedup = 1.0
        self.retraining = Retraining(wanted.retrain, self)
        if wanted.retrain.in_stages:
            self.goals.check_steps()
            self.aim(FIRST_STEP)

    @property
    def acts_on(self) -> frozenset[int]:
        return frozenset(layer.weight for layer in self._layers if layer.ratio)

    @property
    def is_finished(self) -> bool:
        """Whether every layer is; plain training, under the masks, from then on."""
        return bool(self.states) and all(state.finished >= 0 for state in self.states.values())

    @property
    def finished_at(self) -> int:
        """The iteration in which the last layer had its share."""
        return max(state.finished for state in self.states.values())

    @property
    def has_all(self) -> bool:
        """Whether every layer has its prune_ratio."""
        return self.goals.are_met({name: state.share for name, state in self.states.items()}, self.real)

    @property
    def is_fast(self) -> bool:
        return self.speedup >= self._config.speedup

    def settle(self) -> None:
        self.goals.settled = {name: state.share for name, state in self.states.items()}

    def aim(self, increment: float) -> None:
        self.goals.aim(increment, self.real)
        for name, state in self.states.items():
            if self.goals.given[name]:
                state.finished = -1

    def take_back(self, state: Mapping[str, Any]) -> None:
        self._load_layers(state)

    @property
    def keeps_snapshots(self) -> bool:  # type: ignore[override]
        return self._wanted.test_interval > 0

    @property
    def passes(self) -> int:  # type: ignore[override]
        return self.retraining.passes

    @property
    def is_over(self) -> bool:  # type: ignore[override]
        return self.retraining.is_over

    def rate(self, policy: float) -> float:
        return self.retraining.rate(policy)

    def begin(self, run: Run) -> None:
        self.retraining.begin(run)

    def end_iteration(self, run: Run) -> None:
        self.retraining.end_iteration(run)

    def check_tests(self, nets: Sequence[Net]) -> None:
        if self._wanted.test_interval:
            check_accuracy(nets)

    def before_pass(self, step: Step) -> None:
        """The layers take over what their neighbours dropped in the last update, count, and mask their weights."""
        if not self.states:
            self.states = {layer.name: self._new_state(layer, step.weights[layer.weight]) for layer in self._layers}
        self._follow()
        for layer in self._layers:
            state, weight = self.states[layer.name], step.weights[layer.weight]
            if not state.is_counted:
                state.share, state.masks = self._share(state, weight.dtype), not bool(state.mask.all())
            ratio = float(self.real(self.goals.ratios[layer.name]))
            if state.finished < 0 and (state.share >= ratio or self.is_fast):
                state.finished = step.iteration
            if state.masks:
                weight.masked_fill_(~state.mask.view(weight.shape), 0)
        if not all(state.is_counted for state in self.states.values()):
            self.speedup = self._measured()
            for state in self.states.values():
                state.is_counted = True
        if self.is_finished:
            for state in self.states.values():
                state.groups = replace(state.groups, penalty=state.groups.penalty.where(state.groups.gone, 0))

    def after_pass(self, step: Step, gradients: list[Tensor]) -> None:
        for layer in self._layers:
            state = self.states[layer.name]
            if state.masks:
                gradients[layer.weight].masked_fill_(~state.mask.view(gradients[layer.weight].shape), 0)

    def regularize(self, step: Step, gradients: list[Tensor]) -> None:
        for layer in self._layers:
            state, weight = self.states[layer.name], step.weights[layer.weight]
            if state.finished < 0:
                self._step_layer(layer, state, weight, gradients[layer.weight], step.iteration)
            if state.masks:
                history = step.history[layer.weight]
                history.masked_fill_(~state.mask.view(history.shape), 0)

    def report(self, weights: list[Tensor]) -> Iterable[str]:
        if self.states:
            shares = ", ".join(f"{name} {100 * state.share:.4g}%" for name, state in self.states.items())
            yield f"{self.title}: {self.speedup:.4g} times fewer multiply-adds; pruned: {shares}"
            if self.retraining.state.name != "prune":
                yield f"{self.title}: {self.retraining.state.name}"

    def state_dict(self) -> dict[str, Any]:
        return {
            "speedup": self.speedup,
            "layers": {name: state.kept() for name, state in self.states.items()},
            "goals": self.goals.kept(),
            "retraining": self.retraining.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._load_layers(state)
        if "retraining" in state:  # not in those of before there was any
            self.retraining.load_state_dict(state["retraining"])
            self.goals.restore(state["goals"])

    def _load_layers(self, state: Mapping[str, Any]) -> None:
        if state["layers"] and set(state["layers"]) != {layer.name for layer in self._layers}:
            raise ValueError(f"it has the layers {', '.join(state['layers'])}")
        layers = self._layers if state["layers"] else ()
        self.states = {layer.name: restored(layer, state["layers"][layer.name]) for layer in layers}
        self.speedup = float(state["speedup"])

    @property
    def real(self) -> Any:
        """The type Caffe would compute in."""
        return np.float64 if self._layers[0].tensor.dtype == torch.float64 else np.float32

    def _new_state(self, layer: PrunedLayer, weight: Tensor) -> LayerState:
        matrix = weight.view(len(weight), -1)
        zeros = matrix.new_zeros(matrix.shape[1] if self._config.by_columns else matrix.shape[0])
        return LayerState(Groups(zeros, zeros.clone(), zeros.bool()), torch.ones_like(matrix, dtype=torch.bool))

    def _share(self, state: LayerState, dtype: torch.dtype) -> float:
        gone = state.groups.gone
        return float(gone.sum().to(dtype) / torch.tensor(len(gone), dtype=dtype, device=gone.device))

    def _follow(self) -> None:
        """What went takes along what made it, or what read it."""
        if all(state.is_counted for state in self.states.values()):
            return  # nothing went since
        first, then = ("reads", "makes") if self._config.by_columns else ("makes", "reads")
        for link in self._links:
            if any(self._is_left(name, places, first) for name, places in getattr(link, first)):
                continue
            for name, places in getattr(link, then):
                state = self.states[name]
                (state.mask if then == "makes" else state.mask.T)[places] = False
                state.is_counted = False

    def _is_left(self, name: str, places: Sequence[int], role: str) -> bool:
        mask = self.states[name].mask
        return bool((mask if role == "makes" else mask.T)[places].any())

    def _step_layer(
        self, layer: PrunedLayer, state: LayerState, weight: Tensor, gradient: Tensor, iteration: int
    ) -> None:
        """One step of the lambdas: what reaches the target is masked, and lambda w is added to the gradient."""
        by_columns, matrix = self._config.by_columns, weight.view(len(weight), -1)
        ratio = self.goals.ratios[layer.name]
        whole = torch.tensor(len(state.groups.gone), dtype=weight.dtype) * torch.tensor(ratio, dtype=weight.dtype)
        to_go = math.ceil(float(whole)) - int(state.groups.gone.sum())
        if to_go <= 0:
            return  # the code says BUG here, and leaves the layer alone too
        norms = matrix.abs().sum(0 if by_columns else 1)
        target = self._target(weight.dtype)
        settled = self.goals.settled[layer.name]
        done = (state.share - settled) / (ratio - settled)
        before = state.groups.gone
        state.groups = step_groups(state.groups, norms, to_go, iteration, self._config, target, done, matrix.shape[1])
        if not torch.equal(state.groups.gone, before):
            (state.mask.T if by_columns else state.mask)[state.groups.gone] = False
            matrix.masked_fill_(~state.mask, 0)
            state.is_counted = False
        penalty = state.groups.penalty[None, :] if by_columns else state.groups.penalty[:, None]
        gradient.view(matrix.shape).addcmul_(penalty, matrix)

    def _target(self, dtype: torch.dtype) -> float:
        """The effective target_reg, computed in the type of the weights as Caffe does."""
        if not self._config.scaled:
            return self._config.target_reg
        multiplier = torch.tensor(target_multiplier(self.goals.increment), dtype=dtype)
        scaled = torch.tensor(self._config.target_reg, dtype=dtype) * multiplier
        return min(float(scaled), LARGEST_TARGET)

    def _measured(self) -> float:
        """Multiply-adds of the convolutions before over after, from the shares of rows and columns that went."""
        before = after = 0.0
        for name, macs in self._macs.items():
            rows = columns = 0.0
            if name in self.states:
                mask = self.states[name].mask
                rows, columns = float((~mask.any(1)).double().mean()), float((~mask.any(0)).double().mean())
            before += macs
            after += macs * (1 - (rows + columns - rows * columns))
        return before / after if after else math.inf


ENTRIES = tuple(
    Entry(
        f"IncReg {method}",
        f"a penalty on each {group} rises and falls by its rank until it goes for good",
        "MingSun-Tse/Caffe_IncReg 32b9d62",
        (
            "prune_method", "AA", "target_reg", "target_reg_scaled", "speedup", "IF_update_row_col",
            "IF_scheme1_when_Reg_rank", "IF_speedup_count_fc", "losseval_interval", "retrain_test_interval",
            "acc_borderline", "baseline_acc", "IF_eswpf", "IF_use_acc1", "iter_size_prune", "iter_size_losseval",
            "iter_size_retrain", "iter_size_final_retrain",
            "prune_param { prune_ratio prune_ratio_step IF_update_row_col }",
        ),
        read_increg,
        IncRegRun,
        IncReg,
    )
    for method, group in (("Reg_Col", "column of a layer's matrix"), ("Reg_Row", "filter"))
)  # fmt: skip
