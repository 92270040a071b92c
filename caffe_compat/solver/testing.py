"""What a test measures, and how it is told (Solver::Test)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from caffe_compat.net.net import Net
from caffe_compat.solver.debug import forward_explained
from caffe_compat.solver.log import number, output_lines
from caffe_compat.solver.nets import output_weights
from caffe_compat.solver.precision import rounding
from caffe_compat.solver.settings import SolverConfig

logger = logging.getLogger(__name__)


def run_test(
    net: Net, index: int, config: SolverConfig, iteration: int, interrupted: Callable[[], bool]
) -> dict[str, Any]:
    """Test net number `index` over its test_iter batches; its mean outputs by name, floats or arrays.

    Empty where `interrupted` became true.
    """
    logger.info("Iteration %d, Testing net (#%d)", iteration, index)
    with rounding(tf32=False), forward_explained(net) if config.debug_info else nullcontext():
        scores = mean_outputs(net, config.test_iter[index], interrupted)
    if scores is None:
        logger.info("Test interrupted.")
        return {}
    means, loss = scores
    if config.test_compute_loss:
        logger.info("Test loss: %s", number(loss))
    log_outputs("Test", means, output_weights(net))
    return {name: mean.item() if mean.numel() == 1 else mean.cpu().numpy() for name, mean in means.items()}


@torch.no_grad()
def mean_outputs(
    net: Net, batches: int, interrupted: Callable[[], bool] = lambda: False
) -> tuple[dict[str, Tensor], float] | None:
    """The mean of every output of `net` and of its loss over `batches` batches; None where it was interrupted."""
    totals: dict[str, Tensor] = {}
    loss = 0.0
    for _ in range(batches):
        if interrupted():
            return None
        outputs, batch_loss = net.forward_with_loss()
        loss += batch_loss.item()
        for name in net.output_names:
            totals[name] = totals[name] + outputs[name] if name in totals else outputs[name]
    return {name: total / batches for name, total in totals.items()}, loss / batches


def log_outputs(phase: str, outputs: Mapping[str, Tensor], weights: Mapping[str, float]) -> None:
    """Log the outputs of a "Train" or "Test" net; `weights` has the loss weight of each, in the net's order."""
    values = [(name, weight, outputs[name].flatten().tolist()) for name, weight in weights.items()]
    for line in output_lines(phase, values):
        logger.info("%s", line)
