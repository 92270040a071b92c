"""debug_info: the mean size of every blob, gradient and parameter, in Caffe's lines (net.cpp, *DebugInfo)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
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
        for top, value in zip(layer.param.top, outputs if isinstance(outputs, tuple) else (outputs,), strict=False):
            logger.info("    [Forward] Layer %s, top blob %s data: %s", layer.name, top, size(value))
        for name, blob in zip(_blob_names(layer), layer.blobs, strict=True):
            logger.info("    [Forward] Layer %s, param blob %s data: %s", layer.name, name, size(blob))
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

    A parameter that several layers share shows its whole gradient at each of them, where Caffe shows the sum so far.
    """
    bottoms: dict[Layer, list[Tensor]] = {}
    with forward_explained(net, bottoms):
        yield
    for layer in reversed(bottoms):
        _log_gradients(layer, bottoms[layer])
    _log_norms(net)


def _blob_names(layer: Layer) -> list[str]:
    """What Caffe calls the blobs of a layer: the name in `param`, else the number."""
    specs = layer.param.param
    return [specs[i].name if i < len(specs) and specs[i].name else str(i) for i in range(len(layer.blobs))]


def _log_gradients(layer: Layer, bottoms: list[Tensor]) -> None:
    for bottom, value in zip(layer.param.bottom, bottoms, strict=False):
        if value.requires_grad and value.grad is not None:
            logger.info("    [Backward] Layer %s, bottom blob %s diff: %s", layer.name, bottom, size(value.grad))
    grown = [value.grad is not None for value in (*bottoms, *layer.blobs)]
    specs = layer.param.param
    for index, blob in enumerate(layer.blobs):  # BatchNorm's too, unless the net itself says lr_mult: 0
        if any(grown) and (index >= len(specs) or specs[index].lr_mult != 0):
            logger.info("    [Backward] Layer %s, param blob %d diff: %s", layer.name, index, size(blob.grad))


def _log_norms(net: Net) -> None:
    data = [param.tensor.detach() for param in net.learnable_params]
    tensors = [param.tensor for param in net.learnable_params]
    diff = [torch.zeros_like(value) if value.grad is None else value.grad for value in tensors]
    norms = [
        number(float(sum(torch.linalg.vector_norm(value, order).item() ** order for value in values) ** (1 / order)))
        for order in (1, 2)
        for values in (data, diff)
    ]
    logger.info("    [Backward] All net params (data, diff): L1 norm = (%s, %s); L2 norm = (%s, %s)", *norms)
