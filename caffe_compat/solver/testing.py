"""What a test measures (Solver::Test)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from caffe_compat.net.net import Net


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
