"""debug_info: the mean size of every blob, gradient and parameter, in Caffe's lines (net.cpp, *DebugInfo)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from caffe_compat.layers.base import Layer
from caffe_compat.net.net import Net
from caffe_compat.solver.log import number

logger = logging.getLogger(__name__)


def size(values: Tensor | None) -> str:
    """The mean of the absolute values, as the log shows it."""
    return number(values.detach().abs().mean().item() if values is not None and values.numel() else 0.0)


@contextmanager
def forward_explained(net: Net, bottoms: dict[Layer, list[Tensor]] | None = None) -> Iterator[None]:
    """Within this block, log tops and parameters of each layer that runs; `bottoms` gets its bottoms."""

    def note(layer: Any, inputs: tuple[Tensor, ...], outputs: Any) -> Any:
        if layer.param.type == "Split":  # its tops are one tensor, whose gradient would be the sum of theirs
            outputs = tuple(top.view_as(top) for top in outputs)
        tell_forward(layer, zip(layer.param.top, outputs if isinstance(outputs, tuple) else (outputs,), strict=False))
        if bottoms is not None:
            bottoms[layer] = list(inputs)
            for value in inputs:
                if value.requires_grad:
                    value.retain_grad()
        return outputs

    hooks = [layer.register_forward_hook(note) for _, layer in net.steps]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def passes_explained(net: Net) -> Iterator[None]:
    """As `forward_explained`; on leaving the block, log the gradients that backward gave, from the last layer on.

    A blob that several layers share shows at each of them the sum of what it has got up to there, as in Caffe.
    """
    bottoms: dict[Layer, list[Tensor]] = {}
    with _all_reached(net), forward_explained(net, bottoms), _uses_apart(net) as uses:
        yield
    for layer in reversed(bottoms):
        diffs = [use.diff_so_far() for use in uses[layer]]
        found = list(zip(layer.param.bottom, bottoms[layer], strict=False))
        has_any = any(value.grad is not None for value in (*bottoms[layer], *layer.blobs))
        reached = [(name, value.grad) for name, value in found if value.requires_grad and value.grad is not None]
        tell_backward(layer, reached, diffs if has_any else [])
    tensors = [param.tensor for param in net.learnable_params]
    tell_norms([each.detach() for each in tensors], [each.grad for each in tensors])


@contextmanager
def _all_reached(net: Net) -> Iterator[None]:
    """Within this block, where the net says force_backward, what data layers give gets gradients too, as in Caffe."""

    def reach(layer: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(value if value.requires_grad else value.detach().requires_grad_().clone() for value in inputs)

    hooks = [layer.register_forward_pre_hook(reach) for _, layer in net.steps if net.param.force_backward]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@dataclass
class _Use:
    """One layer's use of a blob: what the layer reads, and the sums by blob of what all shared ones got until now."""

    blob: Tensor
    read: Tensor
    sums: dict[Tensor, Tensor | None]

    def diff_so_far(self) -> Tensor | None:
        if self.read is self.blob:
            return self.blob.grad
        before, got = self.sums[self.blob], self.read.grad
        self.sums[self.blob] = before if got is None else got if before is None else before + got
        return self.sums[self.blob]


@contextmanager
def _uses_apart(net: Net) -> Iterator[dict[Layer, list[_Use]]]:
    """Within this block layers read views of their own of a blob that they share, each with its own gradient."""
    counts = Counter(blob for _, layer in net.steps for blob in layer.blobs)
    sums = {blob: blob.grad if blob.grad is None else blob.grad.clone() for blob, uses in counts.items() if uses > 1}
    found = {layer: [_Use(blob, _view(blob, sums), sums) for blob in layer.blobs] for _, layer in net.steps}
    try:
        for layer, uses in found.items():
            _set_blobs(layer, [use.read for use in uses])
        yield found
    finally:
        for layer, uses in found.items():
            _set_blobs(layer, [use.blob for use in uses])


def _view(blob: Tensor, shared: Container[Tensor]) -> Tensor:
    if blob not in shared:
        return blob
    view = blob.view_as(blob)
    if view.requires_grad:
        view.retain_grad()
    return view


def _set_blobs(layer: Layer, blobs: Sequence[Tensor]) -> None:
    """Put tensors where the layer looks for its blobs; a ParameterList would make Parameters of them."""
    for index, blob in enumerate(blobs):
        layer.blobs._parameters[str(index)] = blob  # type: ignore[assignment]


def tell_forward(layer: Layer, tops: Iterable[tuple[str, Tensor]]) -> None:
    """Log what a layer has made, (name, data) of each top, and the blobs it has (Net::ForwardDebugInfo)."""
    for top, value in tops:
        logger.info("    [Forward] Layer %s, top blob %s data: %s", layer.name, top, size(value))
    for name, blob in zip(_blob_names(layer), layer.blobs, strict=True):
        logger.info("    [Forward] Layer %s, param blob %s data: %s", layer.name, name, size(blob))


def tell_backward(
    layer: Layer, bottoms: Iterable[tuple[str, Tensor]], diffs: Sequence[Tensor | None], forced: bool = False
) -> None:
    """Log (name, diff) of the bottoms that got one, and the diffs of the blobs (Net::BackwardDebugInfo).

    BatchNorm's statistics too, unless the net itself says lr_mult: 0. forced: the net says force_backward.
    """
    for bottom, value in bottoms:
        logger.info("    [Backward] Layer %s, bottom blob %s diff: %s", layer.name, bottom, size(value))
    specs = layer.param.param
    for index, diff in enumerate(diffs):
        if forced or index >= len(specs) or specs[index].lr_mult != 0:
            logger.info("    [Backward] Layer %s, param blob %d diff: %s", layer.name, index, size(diff))


def tell_norms(data: Sequence[Tensor], diffs: Sequence[Tensor | None]) -> None:
    """Log the norms of all learnable blobs, as an error, as Caffe does (Net::Backward)."""
    diff = [torch.zeros_like(value) if each is None else each for value, each in zip(data, diffs, strict=True)]
    norms = [
        number(float(sum(torch.linalg.vector_norm(value, order).item() ** order for value in values) ** (1 / order)))
        for order in (1, 2)
        for values in (data, diff)
    ]
    logger.error("    [Backward] All net params (data, diff): L1 norm = (%s, %s); L2 norm = (%s, %s)", *norms)


def _blob_names(layer: Layer) -> list[str]:
    """What Caffe calls the blobs of a layer: the name in `param`, else the number."""
    specs = layer.param.param
    return [specs[i].name if i < len(specs) and specs[i].name else str(i) for i in range(len(layer.blobs))]
