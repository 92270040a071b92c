"""The training net and the test nets that a SolverParameter asks for (Solver::InitTrainNet, InitTestNets)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caffe_compat.errors import SolverError
from caffe_compat.net.build import loss_weights
from caffe_compat.net.net import Net
from caffe_compat.proto.files import find_file
from caffe_compat.proto.model import read_net
from caffe_compat.proto.schema import NetState
from caffe_compat.proto.upgrade import upgrade_net

logger = logging.getLogger(__name__)

TRAIN_FIELDS = ("train_net_param", "train_net", "net_param", "net")  # in Caffe's order of preference


@dataclass(frozen=True)
class NetSource:
    """A NetParameter, the folder of the file it came from (None: from the solver itself), and what the log calls it."""

    param: Any
    folder: Path | None
    description: str


def training_net(param: Any, path: Path | None, compat: str, level: int = 0, stages: Sequence[str] = ()) -> Net:
    """The net to train. Its state: TRAIN, then the net's own, then train_state, then `level` and `stages`.

    SolverError unless exactly one of net, net_param, train_net and train_net_param is given.
    """
    given = [name for name in TRAIN_FIELDS if param.HasField(name)]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        raise SolverError(f"{path or 'the solver'}: wanted one of {', '.join(TRAIN_FIELDS)}; found {found}")
    source = _source(given[0], getattr(param, given[0]), path, compat)
    logger.info("Creating training net %s", source.description)
    net = _net(source, "TRAIN", param.train_state, level, stages, compat)
    for layer, what in net.hazards.lost_gradients:
        logger.warning("Layer '%s': %s; in Caffe too, unless with in_place 'right'", layer, what)
    return net


def test_nets(param: Any, path: Path | None, compat: str) -> list[Net]:
    """The nets to test, one for each test_iter: test_net_param, test_net, then net_param or net for the rest.

    The state of each: TEST, then the net's own, then its test_state.
    """
    own = [("test_net_param", net) for net in param.test_net_param] + [("test_net", net) for net in param.test_net]
    shared = [(name, getattr(param, name)) for name in ("net_param", "net") if param.HasField(name)]
    fields = own + shared * (len(param.test_iter) - len(own))
    states = list(param.test_state) or [NetState()] * len(fields)
    nets = []
    for index, ((field, value), state) in enumerate(zip(fields, states, strict=True)):
        source = _source(field, value, path, compat)
        logger.info("Creating test net (#%d) %s", index, source.description.replace("from", "specified by"))
        nets.append(_net(source, "TEST", state, 0, (), compat))
    return nets


def output_weights(net: Net) -> dict[str, float]:
    """The loss weight of every output of `net`, 0 for what is no loss."""
    weights = {
        top.name: weight
        for node, layer in net.steps
        for top, weight in zip(node.tops, loss_weights(node, layer), strict=True)
    }
    return {name: weights.get(name, 0.0) for name in net.output_names}


def check_loss(net: Net) -> None:
    """SolverError for a net that nothing teaches; rules that leave its losses out are the usual reason."""
    if any(any(loss_weights(node, layer)) for node, layer in net.steps):
        return
    state = f"phase TRAIN and stages {', '.join(net.graph.state.stage) or 'none'}"
    here = {node.name for node in net.graph.nodes}
    absent = ", ".join(f"'{layer.name}'" for layer in net.param.layer if layer.name not in here)
    hint = f"; its rules leave out: {absent}" if absent else "; add a loss layer, or a loss_weight"
    raise SolverError(f"net '{net.graph.name}' has no loss to train with in {state}{hint}")


def _check_stages(net: Net, stages: Iterable[str]) -> None:
    """Warn of a stage that no rule of the net names: it has no effect, which a misspelt one should not."""
    rules = [rule for layer in net.param.layer for rule in (*layer.include, *layer.exclude)]
    known = dict.fromkeys(stage for rule in rules for stage in (*rule.stage, *rule.not_stage))
    for stage in stages:
        if stage and stage not in known:
            logger.warning(
                "Stage '%s' is named by no include or exclude rule of net '%s'; its rules name: %s",
                *(stage, net.graph.name, ", ".join(known) or "none"),
            )


def _source(field: str, value: Any, path: Path | None, compat: str) -> NetSource:
    folder = path.parent if path else None
    if not isinstance(value, str):
        return NetSource(upgrade_net(value, str(path or ""), compat, inline=True), folder, f"specified in {field}.")
    file = find_file(value, folder, named_by=str(path or "the solver"))
    return NetSource(read_net(file, compat), file.parent, f"from {field} file: {value}")


def _net(source: NetSource, phase: str, state: Any, level: int, stages: Iterable[str], compat: str) -> Net:
    stages = [*state.stage, *stages]
    net = Net(
        source.param,
        phase=phase,
        level=level or state.level,
        stages=stages,
        compat=compat,
        folder=source.folder,
    )
    _check_stages(net, stages)
    return net
