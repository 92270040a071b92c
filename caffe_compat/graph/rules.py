"""Which layers a phase, a level and a set of stages see: include and exclude rules (net.cpp, FilterNet)."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from typing import Any

from caffe_compat.errors import GraphError
from caffe_compat.proto.schema import TEST, TRAIN, NetState

logger = logging.getLogger(__name__)

PHASES = {"TRAIN": TRAIN, "TEST": TEST}


def phase_name(phase: int) -> str:
    """ "TRAIN" or "TEST" for the number that a message has."""
    return "TRAIN" if phase == TRAIN else "TEST"


def net_state(net: Any, phase: str, level: int = 0, stages: Iterable[str] = ()) -> Any:
    """The NetState of `net` in `phase`: its own level unless `level` says otherwise, its own stages and `stages`."""
    if phase not in PHASES:
        raise GraphError(f"net '{net.name}': phase is '{phase}'; allowed: {', '.join(PHASES)}")
    if isinstance(stages, str):
        raise GraphError(f"net '{net.name}': stages is the text '{stages}'; give a list of stages")
    merged = dict.fromkeys([*net.state.stage, *stages])
    return NetState(phase=PHASES[phase], level=level or net.state.level, stage=list(merged))


def partition(layers: Iterable[Any], state: Any) -> tuple[list[Any], list[Any]]:
    """The layers that the rules let in, and those left out, in order; GraphError where one has both kinds of rules."""
    included: list[Any] = []
    left_out: list[Any] = []
    for layer in layers:
        (included if is_included(layer, state) else left_out).append(layer)
    return included, left_out


def is_included(layer: Any, state: Any) -> bool:
    """With include rules: any of them is met; otherwise: no exclude rule is met."""
    if layer.include and layer.exclude:
        raise GraphError(f"layer '{layer.name}' has include and exclude rules; keep one of the two kinds")
    if layer.include:
        return any(is_met(rule, state, layer.name) for rule in layer.include)
    return not any(is_met(rule, state, layer.name) for rule in layer.exclude)


def is_met(rule: Any, state: Any, layer_name: str) -> bool:
    """Whether `state` has the rule's phase, a level in its range, all its stages and none of its not_stages."""
    if rule.HasField("phase") and rule.phase != state.phase:
        logger.info(
            "The NetState phase (%d) differed from the phase (%d) specified by a rule in layer %s",
            state.phase,
            rule.phase,
            layer_name,
        )
        return False
    if rule.HasField("min_level") and state.level < rule.min_level:
        return False
    if rule.HasField("max_level") and state.level > rule.max_level:
        return False
    present: Collection[str] = set(state.stage)
    return all(stage in present for stage in rule.stage) and not any(stage in present for stage in rule.not_stage)
