"""IncReg (Reg_Col, Reg_Row) as the fields of a solver and a net ask for it; layers follow one another's channels."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import SolverError
from caffe_compat.net.net import Net
from caffe_compat.solver.methods.layers import PrunedLayer, pruned_layers
from caffe_compat.solver.methods.links import links, multiply_adds
from caffe_compat.solver.methods.method import Entry, Method, Step
from caffe_compat.solver.methods.soft_pruning import HARD
from caffe_compat.solver.regularizers.increg import Groups, IncRegConfig, step_groups, target_multiplier
from caffe_compat.solver.words import at_least

logger = logging.getLogger(__name__)

LARGEST_TARGET = 10.0


def read_increg(param: Any) -> IncRegConfig | None:
    """The settings of the SolverParameter `param`; None where prune_method is neither Reg_Col nor Reg_Row."""
    if param.prune_method not in HARD:
        return None
    for name in ("AA", "target_reg"):
        at_least(name, getattr(param, name), 0)
        if not getattr(param, name):
            raise SolverError(f"{name} is missing; prune_method '{param.prune_method}' needs it, above 0")
    at_least("speedup", param.speedup, 1)
    if param.HasField("compRatio"):
        logger.warning("compRatio has no effect: its authors' code compares it where single weights are pruned only")
    for name in ("losseval_interval", "retrain_test_interval"):
        if getattr(param, name):
            logger.warning("%s has no effect: after pruning, training goes on by lr_policy until max_iter", name)
    return IncRegConfig(
        param.prune_method,
        param.AA,
        param.target_reg,
        param.target_reg_scaled,
        param.speedup,
        param.IF_update_row_col,
        param.IF_scheme1_when_Reg_rank,
    )


@dataclass
class LayerState:
    """One layer. groups: see Groups. mask: (filters, columns) bool, True where a weight is left.

    share: of its groups, gone as of the last forward pass. masks: whether anything of it was then. finished: the
    iteration, -1 before. is_counted: whether share and masks are those of the mask of now.
    """

    groups: Groups
    mask: Tensor
    share: float = 0.0
    masks: bool = False
    finished: int = -1
    is_counted: bool = False


class IncReg(Method):
    """Layers in the order of the net; each is finished at its prune_ratio, all of them at `speedup`.

    A channel that none of its readers reads any more takes along the filters that make it (Reg_Col); a filter that went
    takes along the columns that read it (Reg_Row). The code finds its neighbour by the number of the layer; here it is
    the graph that tells (graph/channels.py), so that branches and residual nets work too. Their learning rate stays
    that of the first iteration while this acts; here lr_policy acts.
    """

    kind = "prunes"

    def __init__(self, config: IncRegConfig, net: Net) -> None:
        self.title, self._config = config.method, config
        every = pruned_layers(net, config.method)
        self._convolutions = {layer.name: layer for layer in every if layer.tensor.dim() > 2}
        self._layers = [layer for layer in every if layer.given or layer.name in self._convolutions]
        if not any(layer.ratio for layer in self._layers):
            raise SolverError(
                f"prune_method is '{config.method}', but no layer of net '{net.graph.name}' has a prune_ratio; "
                "add prune_param { prune_ratio: 0.5 } to those that should lose groups"
            )
        params = {layer.name: net.layers[layer.name].param.prune_param for layer in self._layers}
        self._ratios = {name: float(param.prune_ratio) for name, param in params.items()}
        self._macs = multiply_adds(net, self._convolutions)
        followed = {name: layer for name, layer in self._convolutions.items() if params[name].IF_update_row_col}
        self._links = links(net, followed) if config.update_row_col else []
        self.states: dict[str, LayerState] = {}
        self.speedup = 1.0

    @property
    def acts_on(self) -> frozenset[int]:
        return frozenset(layer.weight for layer in self._layers if layer.ratio)

    @property
    def is_finished(self) -> bool:
        """Whether every layer is; plain training, under the masks, from then on."""
        return bool(self.states) and all(state.finished >= 0 for state in self.states.values())

    def before_pass(self, step: Step) -> None:
        """The layers take over what their neighbours dropped in the last update, count, and mask their weights."""
        if not self.states:
            self.states = {layer.name: self._new_state(layer, step.weights[layer.weight]) for layer in self._layers}
        self._follow()
        for layer in self._layers:
            state, weight = self.states[layer.name], step.weights[layer.weight]
            if not state.is_counted:
                state.share, state.masks = self._share(state, weight.dtype), not bool(state.mask.all())
            ratio = self._in_type(self._ratios[layer.name], weight.dtype)
            if state.finished < 0 and (state.share >= ratio or self.speedup >= self._config.speedup):
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

    def state_dict(self) -> dict[str, Any]:
        layers = {
            name: {
                "penalty": state.groups.penalty,
                "rank": state.groups.rank,
                "gone": state.groups.gone,
                "mask": state.mask,
                "share": state.share,
                "masks": state.masks,
                "finished": state.finished,
            }
            for name, state in self.states.items()
        }
        return {"speedup": self.speedup, "layers": layers}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state["layers"] and set(state["layers"]) != {layer.name for layer in self._layers}:
            raise ValueError(f"it has the layers {', '.join(state['layers'])}")
        loaded = {}
        for layer in self._layers if state["layers"] else ():
            stored, device = dict(state["layers"][layer.name]), layer.tensor.device
            arrays = {k: torch.as_tensor(stored[k]).to(device) for k in ("penalty", "rank", "gone", "mask")}
            shape = (len(layer.tensor), layer.tensor[0].numel())
            if tuple(arrays["mask"].shape) != shape:
                raise ValueError(
                    f"the mask of layer '{layer.name}' is {tuple(arrays['mask'].shape)}, its matrix {shape}"
                )
            groups = Groups(arrays["penalty"], arrays["rank"], arrays["gone"])
            loaded[layer.name] = LayerState(
                groups, arrays["mask"], stored["share"], stored["masks"], stored["finished"]
            )
        self.states, self.speedup = loaded, float(state["speedup"])

    def _new_state(self, layer: PrunedLayer, weight: Tensor) -> LayerState:
        matrix = weight.view(len(weight), -1)
        zeros = matrix.new_zeros(matrix.shape[1] if self._config.by_columns else matrix.shape[0])
        return LayerState(Groups(zeros, zeros.clone(), zeros.bool()), torch.ones_like(matrix, dtype=torch.bool))

    def _in_type(self, value: float, dtype: torch.dtype) -> float:
        return float(torch.tensor(value, dtype=dtype))

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
        ratio = self._ratios[layer.name]
        whole = torch.tensor(len(state.groups.gone), dtype=weight.dtype) * torch.tensor(ratio, dtype=weight.dtype)
        to_go = math.ceil(float(whole)) - int(state.groups.gone.sum())
        if to_go <= 0:
            return  # the code says BUG here, and leaves the layer alone too
        norms = matrix.abs().sum(0 if by_columns else 1)
        target = self._target(weight.dtype)
        done = state.share / ratio
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
        scaled = torch.tensor(self._config.target_reg, dtype=dtype) * torch.tensor(target_multiplier(), dtype=dtype)
        return min(float(scaled), LARGEST_TARGET)

    def _measured(self) -> float:
        """Multiply-adds of the convolutions before over after, from the shares of rows and columns that went."""
        before = after = 0.0
        for name, macs in self._macs.items():
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
            "IF_scheme1_when_Reg_rank", "prune_param { prune_ratio IF_update_row_col }",
        ),
        read_increg,
        IncRegConfig,
        IncReg,
    )
    for method, group in (("Reg_Col", "column of a layer's matrix"), ("Reg_Row", "filter"))
)  # fmt: skip
