"""Old nets and solvers made current, one step a file, in the order in which Caffe takes them (upgrade_proto.cpp).

A step is a pair: does the message need it, and the function that changes the message in place.
"""

from __future__ import annotations

import logging
from typing import Any

from caffe_compat.errors import ParseError
from caffe_compat.proto.schema import NetParameter, SolverParameter
from caffe_compat.proto.upgrade import batch_norm, inputs, solver, transform, v0, v1

logger = logging.getLogger(__name__)

STEPS = (v0, transform, v1, inputs, batch_norm)


def upgrade_net(net: Any, path: str = "", compat: str = "bvlc", inline: bool = False) -> Any:
    """`net` in the current form, as Caffe makes it on every read: a copy of an old one, a current one itself.

    compat: "wen2017" and "scnn" leave the multipliers of BatchNorm as they are, for these forks obey them. inline: as
    Caffe leaves them in a net that stands in a solver; its other steps, without which Caffe refuses, are taken.

    Each step taken is logged. Raises ParseError, with `path`, where Caffe refuses: `layer` and `layers` in one net,
    unknown old types, padding before something that cannot pad, inputs without shape.
    """
    upgraded = net
    for step in STEPS:
        if step is batch_norm and (inline or compat in ("wen2017", "scnn")):
            continue
        if step.needed(upgraded):
            if upgraded is net:
                upgraded = NetParameter()
                upgraded.CopyFrom(net)
            _take(step, upgraded, path)
    return upgraded


def upgrade_solver(solver_param: Any, path: str = "") -> Any:
    """`solver_param` with the old enum `solver_type` as the string `type`. Raises ParseError where both stand."""
    if not solver.needed(solver_param):
        return solver_param
    upgraded = SolverParameter()
    upgraded.CopyFrom(solver_param)
    _take(solver, upgraded, path)
    return upgraded


def _take(step: Any, message: Any, path: str) -> None:
    name = path or message.name if hasattr(message, "name") else path
    try:
        for warning in step.upgrade(message):
            logger.warning("%s: %s", name or "net", warning)
    except ParseError as error:
        raise ParseError(f"{path}: {error}" if path else str(error)) from None
    logger.info("%s: upgraded %s", name or "net", step.WHAT)
