"""torch.compile for the program of a net, given up with a word in the log where it does not work here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch

from caffe_compat.net.net import Net

logger = logging.getLogger(__name__)


def compile_net(net: Net, compiler: Callable[..., Any] = torch.compile) -> None:
    """Have the whole program of `net` compiled when it first runs.

    What goes wrong then (no C++ compiler for the CPU, say) is logged in one line, and the net runs as it is.
    """
    if net.hazards:
        logger.warning("--compile: layers in place overwrite what others still read; training goes on uncompiled")
        return
    module: Any = net.graph_module
    plain = module.forward
    compiled = compiler(plain)

    def forward(*inputs: Any) -> Any:
        try:
            return compiled(*inputs)
        except Exception as error:
            outputs = plain(*inputs)  # raises what is wrong with the data or the net itself
            module.forward = plain
            reason = next((line for line in str(error).splitlines() if line.strip()), "no reason given").strip()
            logger.warning("--compile: %s (%s); training goes on uncompiled", reason[:200], type(error).__name__)
            return outputs

    module.forward = forward
