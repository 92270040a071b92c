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
def passes_explained(net: Net) -> Iterator[None]:
    """Within this block, log tops and parameters of each layer that runs; on leaving it, the gradients they got."""
    bottoms: dict[str, list[Tensor]] = {}

    def note(layer: Any, inputs: tuple[Tensor, ...], outputs: Any) -> None:
        for top, value in zip(layer.param.top, outputs if isinstance(outputs, tuple) else (outputs,), strict=False):
            logger.info("    [Forward] Layer %s, top blob %s data: %s", layer.name, top, size(value))
        for index, blob in enumerate(layer.blobs):
            logger.info("    [Forward] Layer %s, param blob %d data: %s", layer.name, index, size(blob))
        bottoms[layer.name] = list(inputs)
        for value in inputs:
            if value.requires_grad:
                value.retain_grad()

    hooks = [layer.register_forward_hook(note) for layer in net.layers.values()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    for name in reversed(bottoms):
        _log_gradients(net.layers[name], bottoms[name])
    _log_norms(net)


def _log_gradients(layer: Layer, bottoms: list[Tensor]) -> None:
    for bottom, value in zip(layer.param.bottom, bottoms, strict=False):
        if value.requires_grad:
            logger.info("    [Backward] Layer %s, bottom blob %s diff: %s", layer.name, bottom, size(value.grad))
    for index, blob in enumerate(layer.blobs):
        if blob.requires_grad:
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


@contextmanager
def update_explained(net: Net) -> Iterator[None]:
    """Log what the update within this block changed: each parameter before it, and the step that was taken off."""
    before = [param.tensor.detach().clone() for param in net.learnable_params]
    yield
    for param, old in zip(net.learnable_params, before, strict=True):
        layer, index = param.users[0]
        step = old - param.tensor.detach()
        logger.info("    [Update] Layer %s, param %d data: %s; diff: %s", layer, index, size(old), size(step))
