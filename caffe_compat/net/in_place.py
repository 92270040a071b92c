"""Layers that compute with what Caffe's memory holds: hazards of graph/hazards.py as parts of a net's program.

A run has one Memory, into which it puts the blob versions that are left at its end, and from which the backward passes
of the layers with hazards read them. Everything else in the program stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, fx, nn

from caffe_compat.errors import GraphError
from caffe_compat.graph.graph import Blob, Graph, Node
from caffe_compat.graph.hazards import Hazard, Hazards, find_hazards
from caffe_compat.layers.base import Layer
from caffe_compat.layers.caffe.backward import Pass, backward_of, destroying_backward_of
from caffe_compat.layers.caffe.overwriting import destroying_forward_of
from caffe_compat.layers.function import Function, need_values, without_derivative

IN_PLACE = ("caffe", "right")
_LEFT = "in place goes back by what others left in its memory"
_chosen: ContextVar[str] = ContextVar("in_place", default="caffe")


@contextmanager
def default_in_place(kind: str) -> Iterator[None]:
    """Within this context, nets are built with in_place `kind` ("caffe" or "right") unless they are told otherwise."""
    token = _chosen.set(kind)
    try:
        yield
    finally:
        _chosen.reset(token)


def chosen_in_place() -> str:
    """What the innermost `default_in_place` says; "caffe" outside of all."""
    return _chosen.get()


Memory = dict[int, Tensor]
"""The number of a blob version -> its values, without their history."""


def defined_hazards(graph: Graph, in_place: str) -> Hazards:
    """The hazards of a net, none for "right"; GraphError for a layer whose values nobody can tell."""
    hazards = find_hazards(graph.nodes if in_place == "caffe" else ())
    for number, hazard in hazards.by_number.items():
        if hazard.undefined:
            node = graph.nodes[number]
            raise GraphError(
                f"layer '{node.name}': {node.param.type} in place has no defined values in Caffe: {hazard.undefined}; "
                "give its top another name, or choose in_place 'right'"
            )
    return hazards


def new_memory() -> Memory:
    """The memory of one run."""
    return {}


def keep(memory: Memory, number: int, value: Tensor) -> Tensor:
    """`value`, which backward passes of this run will find under `number`."""
    if torch.is_grad_enabled():
        memory[number] = value.detach()
    return value


def as_left(value: Tensor, there: Tensor) -> Tensor:
    """`value` as a layer finds it that reads it when `there` lies in its memory; its gradient still goes to `value`."""
    if not (torch.is_grad_enabled() and value.requires_grad):
        return _over(there.detach(), value.detach())
    found: Tensor = _Found.apply(value, there)  # type: ignore[no-untyped-call]
    return found


class _Found(Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, there: Tensor) -> Tensor:
        return _over(there.detach(), value.detach()).clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def with_lost_gradient(value: Tensor) -> Tensor:
    """`value`, from which no gradient goes back but zeros."""
    if not (torch.is_grad_enabled() and value.requires_grad):
        return value
    same: Tensor = _Lost.apply(value)  # type: ignore[no-untyped-call]
    return same


class _Lost(Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return torch.zeros_like(gradients[0])


class InPlacePlan:
    """What a program must do for the hazards of `nodes`, those of its nodes that run, in order; for "right", nothing.

    in_place: "caffe", or "right" for the values that the prototxt says.
    """

    def __init__(self, fx_graph: fx.Graph, nodes: Sequence[Node], in_place: str) -> None:
        self.fx_graph, self._nodes = fx_graph, nodes
        self.hazards = find_hazards(nodes if in_place == "caffe" else ())
        self.numbers = {blob: number for number, blob in enumerate(sorted(self.hazards.kept, key=str))}
        self._memory: fx.Node | None = None

    def arguments(self, number: int, values: tuple[Any, ...], known: Mapping[Blob, Any]) -> tuple[Any, ...]:
        """What node `number` is called with for the values of its bottoms."""
        cut = {k for k, blob in enumerate(self._nodes[number].bottoms) if blob in self.hazards.cut}
        values = tuple(self._call(with_lost_gradient, (v,)) if k in cut else v for k, v in enumerate(values))
        hazard = self.hazards.by_number.get(number)
        if hazard is None:
            return values
        found = [
            self._call(as_left, (value, known[hazard.read[k]])) if k in hazard.read else value
            for k, value in enumerate(values)
        ]
        return (self._run_memory(), *found) if _needs_memory(hazard) else tuple(found)

    def module(self, number: int, layer: Any) -> nn.Module:
        """The module that computes node `number`."""
        hazard = self.hazards.by_number.get(number)
        if hazard is None or not _needs_memory(hazard):
            return layer  # type: ignore[no-any-return]
        bottoms, tops = ({k: self.numbers[blob] for k, blob in left.items()} for left in (hazard.bottoms, hazard.tops))
        return InMemory(layer, hazard, bottoms, tops)

    def kept(self, top: Blob, value: fx.Node) -> fx.Node:
        """`value` of `top`, put into the memory of the run where a backward pass reads it."""
        if top not in self.numbers:
            return value
        return self._call(keep, (self._run_memory(), self.numbers[top], value))

    def final(self, blob: Blob, known: Mapping[Blob, Any]) -> Any:
        """The value of `blob` as it lies in memory after the run."""
        there = self.hazards.final.get(blob)
        return known[blob] if there is None else self._call(as_left, (known[blob], known[there]))

    def _run_memory(self) -> fx.Node:
        if self._memory is None:
            self._memory = self._call(new_memory, ())
        return self._memory

    def _call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> fx.Node:
        return self.fx_graph.call_function(function, arguments)


def _needs_memory(hazard: Hazard) -> bool:
    return bool(hazard.bottoms or hazard.tops or hazard.in_place)


def passes_of(layer: Layer, hazard: Hazard) -> tuple[Callable[..., Any], Callable[[Any, Pass], list[Any]] | None]:
    """The forward pass of a layer with a hazard, called with it and its bottoms, and its rule for backward, if any."""
    forward: Callable[..., Any] = type(layer).__call__
    if not hazard.in_place:
        return forward, backward_of(layer)
    return destroying_forward_of(layer) or forward, destroying_backward_of(layer)


class InMemory(nn.Module):
    """A layer with a hazard: its forward pass where it loses its bottom, its backward pass from what is left.

    bottoms, tops: for each bottom and top whose values another version has replaced by then, its number in the Memory.
    """

    def __init__(self, layer: Layer, hazard: Hazard, bottoms: dict[int, int], tops: dict[int, int]) -> None:
        super().__init__()
        self.layer, self.name, self.in_place = layer, layer.name, hazard.in_place
        self.left_bottoms, self.left_tops = bottoms, tops
        self.forward_pass, self.backward_pass = passes_of(layer, hazard)

    def forward(self, memory: Memory, *bottoms: Tensor) -> Any:
        tensors = (*bottoms, *self.layer.blobs)
        if not (torch.is_grad_enabled() and any(each.requires_grad for each in tensors)):
            return self.forward_pass(self.layer, *bottoms)
        need_values(self.layer, _LEFT, "choose in_place 'right'")
        tops = _Remembering.apply(self, memory, len(bottoms), *tensors)  # type: ignore[no-untyped-call]
        return tops[0] if len(tops) == 1 else tops


class _Remembering(torch.autograd.Function):
    """The passes of an InMemory. Arguments: it, the Memory, the number of bottoms, the bottoms, the blobs."""

    @staticmethod
    def forward(ctx: Any, module: InMemory, memory: Memory, count: int, *tensors: Tensor) -> Any:
        made = module.forward_pass(module.layer, *tensors[:count])
        tops = made if isinstance(made, tuple) else (made,)
        ctx.save_for_backward(*tensors[:count])
        ctx.made = tuple(top.detach() for top in tops)
        ctx.module, ctx.memory, ctx.count, ctx.blobs = module, memory, count, len(tensors) - count
        ctx.set_materialize_grads(True)
        return tops

    @staticmethod
    def backward(ctx: Any, *diffs: Tensor) -> Any:
        with torch.no_grad():
            gradients = _Remembering.gradients(ctx, *diffs)
        of, layer = (*ctx.saved_tensors, *diffs), ctx.module.layer
        how = (layer.name, layer.param.type), _LEFT, "choose in_place 'right'", of
        return tuple(None if each is None else without_derivative(ctx, each, *how) for each in gradients)

    @staticmethod
    def gradients(ctx: Any, *diffs: Tensor) -> Any:
        module, count = ctx.module, ctx.count
        read, made = tuple(each.detach() for each in ctx.saved_tensors), ctx.made
        bottoms = _replaced(read, module.left_bottoms, ctx.memory)
        tops = _replaced(made, module.left_tops, ctx.memory)
        wanted, blobs_wanted = ctx.needs_input_grad[3 : 3 + count], ctx.needs_input_grad[3 + count :]
        rule = module.backward_pass
        if rule is None:
            return None, None, None, *derivative(module.layer, bottoms, diffs, wanted, blobs_wanted)
        found = Pass(bottoms, tops, read, made, diffs, tuple(wanted), module.in_place)
        gradients = rule(module.layer, found)
        return None, None, None, *gradients, *[None] * (len(ctx.needs_input_grad) - 3 - len(gradients))


def _replaced(values: tuple[Tensor, ...], left: dict[int, int], memory: Memory) -> tuple[Tensor, ...]:
    return tuple(_over(memory[left[k]], value) if left.get(k) in memory else value for k, value in enumerate(values))


def _over(there: Tensor, value: Tensor) -> Tensor:
    """`there` in the shape of `value`, of which the rest stays where `there` has fewer values."""
    if there.numel() == value.numel():
        return there.view(value.shape)
    return torch.cat([there.flatten(), value.flatten()[there.numel() :]]).view(value.shape)


def derivative(
    layer: Layer, bottoms: tuple[Tensor, ...], diffs: tuple[Tensor, ...], wanted: Any, blobs_wanted: Any
) -> list[Tensor | None]:
    """The derivative of the layer's forward pass at `bottoms`: of the bottoms `wanted`, then of the blobs.

    Of a blob that the layer has twice, for its `param` names agree, the first place has the whole.
    """
    blobs = list(layer.blobs)
    again = [any(blob is each for each in blobs[:place]) for place, blob in enumerate(blobs)]
    flags = [*wanted, *(flag and not twice for flag, twice in zip(blobs_wanted, again, strict=True))]
    with torch.enable_grad():
        inputs = [x.requires_grad_(flag) for x, flag in zip(bottoms, flags, strict=False)]
        made = layer(*inputs)
        tops = made if isinstance(made, tuple) else (made,)
        pairs = [(top, diff) for top, diff in zip(tops, diffs, strict=True) if top.requires_grad]
        sources = [each for each, flag in zip([*inputs, *blobs], flags, strict=True) if flag]
        found = iter(torch.autograd.grad([top for top, _ in pairs], sources, [d for _, d in pairs], allow_unused=True))
    return [next(found) if flag else None for flag in flags]
