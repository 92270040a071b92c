"""Layer names that HDF5 can hold: one layer a name, and no '/' in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from caffe_compat.errors import WeightsError
from caffe_compat.proto.schema import NetParameter


def make_names_unique(layers: Iterable[Any]) -> None:
    """Give every layer a name of its own: the second 'a' becomes 'a_2'."""
    layers = list(layers)
    taken, used = {layer.name for layer in layers}, set()
    for layer in layers:
        name, number = layer.name, 1
        while name in used or (number > 1 and name in taken):
            number += 1
            name = f"{layer.name}_{number}"
        used.add(name)
        if name != layer.name:
            layer.name = name


def free_of_slash(net: Any, slash: str, where: str = "") -> dict[str, str]:
    """Layer name -> the name with `slash` for '/'; WeightsError where two names would become one."""
    names = {layer.name: layer.name.replace("/", slash) for layer in net.layer}
    taken: dict[str, str] = {}
    for old, new in names.items():
        if taken.setdefault(new, old) != old:
            raise WeightsError(
                f"{where or 'net'}: layers '{taken[new]}' and '{old}' would both be '{new}'; choose another sign, "
                "such as --rename-slash __"
            )
    return names


def renamed(net: Any, names: Mapping[str, str]) -> Any:
    """A copy of `net` whose layers have other names: old name -> new."""
    copy = NetParameter()
    copy.CopyFrom(net)
    for layer in copy.layer:
        layer.name = names[layer.name]
    return copy
