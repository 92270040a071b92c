"""Where a solver runs."""

from __future__ import annotations

import logging
import os
from typing import Any

import torch

from caffe_compat.errors import SolverError

logger = logging.getLogger(__name__)


def choose_device(param: Any, device: str) -> torch.device:
    """The device called "cpu", "cuda", "cuda:N" or "auto": cuda if it is here, unless solver_mode is CPU.

    Warns where a solver with solver_mode: GPU runs on the CPU; SolverError for cuda by name where there is none.
    """
    asks_gpu = param.HasField("solver_mode") and param.solver_mode == param.GPU
    has_gpu = torch.cuda.is_available()
    if device == "auto":
        number = os.environ.get("LOCAL_RANK", param.device_id)  # each process that torchrun starts has its own
        device = f"cuda:{number}" if has_gpu and param.solver_mode == param.GPU else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise SolverError(f"device is '{device}'; allowed: cpu, cuda, cuda:N, auto") from None
    if chosen.type == "cuda" and not has_gpu:
        raise SolverError(f"device is '{device}', but this machine has no CUDA device; use cpu or auto")
    if asks_gpu and chosen.type == "cpu":
        reason = "but the device chosen is the CPU" if has_gpu else "but this machine has no CUDA device"
        logger.warning("solver_mode: GPU is asked for, %s; running on the CPU", reason)
    return chosen
