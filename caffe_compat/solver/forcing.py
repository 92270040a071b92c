"""Which force a solver applies, how strongly, and to which parameters."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from caffe_compat.errors import SolverError
from caffe_compat.net.net import Net
from caffe_compat.net.params import LearnableParam
from caffe_compat.showing import nearest

logger = logging.getLogger(__name__)

FORCES = {"l1": "Constant", "l2": "Degradation", "linear": "Linear", "gravity": "Gravity"}
PUBLISHED_DECAY = {"Constant": 1e-3, "Degradation": 5e-5}  # what the paper's repository trains LeNet and ConvNet with


def choose_force(param: Any, force: str | None, force_decay: float | None) -> None:
    """Set force_type and force_decay of the SolverParameter as asked: force is l1, l2, linear, gravity or none.

    Without force_decay, the solver's own is kept if it is meant for this force, else the published one is taken;
    SolverError where there is neither. None leaves the solver as it is.
    """
    if force is not None and force not in FORCES and force != "none":
        raise SolverError(f"force is '{force}'; allowed: {', '.join(FORCES)}, none")
    if force == "none":
        param.force_decay = 0
        return
    if force is not None:
        kind = FORCES[force]
        if force_decay is None and not (param.force_decay and param.force_type == kind):
            if kind not in PUBLISHED_DECAY:
                raise SolverError(f"force '{force}' has no published strength; give force_decay")
            force_decay = PUBLISHED_DECAY[kind]
        param.force_type = kind
    if force_decay is not None:
        param.force_decay = force_decay
    if force is not None:
        logger.info("Force: %s (force_type %s), force_decay %g", force, param.force_type, param.force_decay)


def force_multipliers(
    net: Net, wanted: bool, force_layers: Sequence[str] | str | None, decay: float, compat: str
) -> list[float]:
    """force_mult of every learnable parameter of `net`.

    force_layers: the layers whose weights are forced, in place of what the prototxt says. Without it, force_mult counts
    as it stands; if no param sets one and the caller `wanted` a force, the weights of every Convolution get 1.
    SolverError where there is a force but nothing to force; "wen2017" only warns, as the fork itself is silent.
    """
    params = net.learnable_params
    if decay == 0:
        return [0.0] * len(params)
    if force_layers is not None:
        names = force_layers.split(",") if isinstance(force_layers, str) else list(force_layers)
        return _for_layers(net, [name.strip() for name in names])
    if wanted and not any(spec.HasField("force_mult") for _, layer in net.steps for spec in layer.param.param):
        convolutions = [name for name, layer in net.layers.items() if layer.param.type == "Convolution"]
        if convolutions:
            logger.info("Force: no param sets force_mult; forcing every Convolution: %s", ", ".join(convolutions))
            return _for_layers(net, convolutions)
    multipliers = [param.force_mult if param.tensor.dim() >= 2 else 0.0 for param in params]
    if not any(multipliers):
        _nothing_to_force(net, decay, wanted, compat)
    return multipliers


def force_groups(net: Net) -> list[int]:
    """How many groups of filters each learnable parameter has: the `group` of the convolution that owns it, else 1."""
    groups = []
    for param in net.learnable_params:
        layer = net.layers[param.layer].param
        groups.append(layer.convolution_param.group if layer.type == "Convolution" and _is_bank(param) else 1)
    return groups


def _for_layers(net: Net, names: Iterable[str]) -> list[float]:
    """The parameters with 2 axes or more of these layers at their own force_mult, or 1; all others 0."""
    chosen = set()
    for name in names:
        if name not in net.layers:
            hint = nearest(name, net.params)
            raise SolverError(f"force_layers: net '{net.graph.name}' has no layer '{name}'; {hint}")
        users = [user for param in net.learnable_params if _is_bank(param) for user in param.users]
        if name not in {user for user, _ in users}:
            raise SolverError(f"force_layers: layer '{name}' has no weights of 2 axes or more to force")
        chosen.add(name)
    return [
        (param.force_mult or 1.0) if _is_bank(param) and chosen & {user for user, _ in param.users} else 0.0
        for param in net.learnable_params
    ]


def _is_bank(param: LearnableParam) -> bool:
    return param.tensor.dim() >= 2


def _nothing_to_force(net: Net, decay: float, wanted: bool, compat: str) -> None:
    message = (
        f"force_decay is {decay:g}, but net '{net.graph.name}' has nothing to force: "
        "no weights of 2 axes or more with a force_mult other than 0; say which force with `--force l1` or force='l1', "
        "set force_mult in the net, or name force_layers"
    )
    explicit = any(spec.HasField("force_mult") for _, layer in net.steps for spec in layer.param.param)
    if not wanted and (explicit or compat != "bvlc"):
        logger.warning("%s", message)
    else:
        raise SolverError(message)
