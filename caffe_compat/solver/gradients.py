"""What Caffe does to the raw gradients before anything is added to them (sgd_solver.cpp)."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from caffe_compat.solver.log import number

logger = logging.getLogger(__name__)


def clip(gradients: list[Tensor], threshold: float) -> None:
    """Scale all gradients by threshold / norm where their common L2 norm exceeds the threshold. Caffe's ClipGradients.

    The norm is of the sum over iter_size, before it is divided. A negative threshold is off; 0 zeroes the gradients.
    On a GPU it is not told in the log, for the host would have to wait for the norm.
    """
    if threshold < 0 or not gradients:
        return
    norm = torch.stack(torch._foreach_norm(gradients)).norm()
    if not norm.is_cuda and logger.isEnabledFor(logging.INFO) and (length := norm.item()) > threshold:
        logger.info(
            "Gradient clipping: scaling down gradients (L2 norm %s > %s) by scale factor %s",
            *map(number, (length, threshold, threshold / length)),
        )
    scale = (threshold / norm).where(norm > threshold, 1)
    torch._foreach_mul_(gradients, scale)


def normalize(gradients: list[Tensor], iter_size: int) -> None:
    """Divide the sum over iter_size passes to their mean. Caffe's Normalize."""
    if iter_size != 1 and gradients:
        torch._foreach_mul_(gradients, 1 / iter_size)
