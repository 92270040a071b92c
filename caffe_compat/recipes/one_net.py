"""The one net that a recipe trains, tests and rewrites, from whatever nets a solver names.

Given:                                              Result:
    solver { train_net: "a"  test_net: "b" }            layer { name: "data" ... include { phase: TRAIN } }
    a: layer { name: "data" ... }                       layer { name: "data" ... include { phase: TEST } }
       layer { name: "ip" ... }                         layer { name: "ip" ... }
    b: layer { name: "data" ... }                       layer { name: "acc" ... include { phase: TEST } }
       layer { name: "ip" ... }
       layer { name: "acc" ... }
"""

from __future__ import annotations

from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from caffe_compat.errors import SolverError
from caffe_compat.graph.rules import PHASES, net_state, partition
from caffe_compat.proto.files import find_file
from caffe_compat.proto.model import read_net
from caffe_compat.proto.schema import FillerParameter, NetParameter
from caffe_compat.proto.upgrade import upgrade_net
from caffe_compat.recipes.anchors import anchor

FORMS = ("net", "net_param", "train_net", "train_net_param", "test_net", "test_net_param")


def take_net(param: Any, path: Path | None, compat: str = "bvlc") -> Any:
    """The NetParameter of a SolverParameter, whose net fields are cleared; its data is found from elsewhere too.

    Nets for training and for tests become one, with rules for what only one of them has; two layers that differ only
    in fillers and multipliers count as one, that of training. Raises SolverError for no net, or for several to test.
    """
    given = [name for name in FORMS if _values(param, name)]
    values = [(name, value) for name in given for value in _values(param, name)]
    if len([name for name, _ in values if not name.startswith("test")]) != 1 or len(values) > 2:
        found = " and ".join(f"{len(_values(param, name))} {name}" for name in given) or "none"
        raise SolverError(
            f"{path or 'the solver'}: one net to train is wanted, and at most one to test beside it; found {found}"
        )
    nets = [_read(name, value, path, compat) for name, value in values]
    if not values[0][0].startswith("net"):
        states = (param.train_state, param.test_state[0] if param.test_state else type(param.train_state)())
        nets = [_seen(net, phase, state) for net, phase, state in zip(nets, PHASES, states, strict=False)]
        param.ClearField("train_state")
        param.ClearField("test_state")
    elif len(nets) > 1:
        raise SolverError(f"{path or 'the solver'}: {values[0][0]} and {values[1][0]}: give train_net and test_net")
    for name in FORMS:
        param.ClearField(name)
    return nets[0] if len(nets) == 1 else _merge(*nets)


def _values(param: Any, name: str) -> list[Any]:
    if name.startswith("test"):
        return list(getattr(param, name))
    return [getattr(param, name)] if param.HasField(name) else []


def _read(name: str, value: Any, path: Path | None, compat: str) -> Any:
    if not isinstance(value, str):
        return anchor(upgrade_net(value, str(path or ""), compat), path.parent if path else None)
    file = find_file(value, path.parent if path else None, named_by=str(path or "the solver"))
    return anchor(read_net(file, compat), file.parent)


def _seen(net: Any, phase: str, state: Any) -> Any:
    """`net` as it is in `phase`, without rules."""
    kept = NetParameter()
    kept.CopyFrom(net)
    del kept.layer[:]
    kept.layer.extend(partition(net.layer, net_state(net, phase, state.level, state.stage))[0])
    for layer in kept.layer:
        del layer.include[:], layer.exclude[:]
    kept.ClearField("state")
    return kept


def _merge(train: Any, test: Any) -> Any:
    """One net that is `train` in TRAIN and `test` in TEST."""
    merged = NetParameter()
    merged.CopyFrom(train)
    del merged.layer[:]
    first_net, second_net = ([_essence(layer) for layer in net.layer] for net in (train, test))
    for kind, first, last, start, end in SequenceMatcher(None, first_net, second_net, autojunk=False).get_opcodes():
        if kind == "equal":
            merged.layer.extend(train.layer[first:last])
            continue
        for layers, phase in ((train.layer[first:last], "TRAIN"), (test.layer[start:end], "TEST")):
            for layer in layers:
                merged.layer.append(layer)
                merged.layer[-1].include.add(phase=PHASES[phase])
    return merged


def _essence(layer: Any) -> bytes:
    """What two layers must agree in to be one: all but fillers and multipliers."""
    bare = type(layer)()
    bare.CopyFrom(layer)
    bare.ClearField("param")
    for _, value in bare.ListFields():
        if hasattr(value, "ListFields"):
            for field, inner in value.ListFields():
                if isinstance(inner, FillerParameter):
                    value.ClearField(field.name)
    return bytes(bare.SerializeToString(deterministic=True))
