"""What channels that go together would save: multiply-adds and activations of a net as it is now, for Group Fisher."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from caffe_compat.net.net import Net
from caffe_compat.solver.methods.units import Unit, paths


class Savings:
    """Of the units of a net, of which those numbered in `gone`, a list that grows, went.

    maps: layer -> (images, places of its output), known once a pass has run.
    """

    def __init__(
        self,
        net: Net,
        units: Sequence[Unit],
        banks: Mapping[str, Any],
        places: Mapping[tuple[str, int], int],
        gone: Sequence[int],
        maps: Mapping[str, tuple[int, int]],
    ) -> None:
        self._units, self._banks, self._places, self._paths = units, banks, places, paths(net)
        self._gone, self._maps = gone, maps

    def activations(self, unit: Unit) -> float:
        """A maker counts once for coupled readers, and as often as its output reaches it for a single one."""
        times = self._reached(unit)
        return float(sum(math.prod(self._maps[p.layer]) * len(p.indices) * times.get(p.layer, 1) for p in unit.writes))

    def multiply_adds(self, unit: Unit) -> float:
        """Of its readers and makers, as wide as they are now."""
        total = 0.0
        for places, others in ((unit.reads, self._outputs), (unit.writes, self._inputs)):
            for place in places:
                layer = self._banks[place.layer]
                each = math.prod(self._maps[place.layer]) * taps(layer) * others(place.layer)
                total += each / group_of(layer)
        return total

    def left(self) -> tuple[float, float]:
        """The shares of multiply-adds and of activations that are left, of the layers that this is about."""
        spent, whole = [0.0, 0.0], [0.0, 0.0]
        for name, layer in self._banks.items():
            images, places = self._maps[name]
            outputs, inputs = widths(layer)
            for total, out, into in ((whole, outputs, inputs), (spent, self._outputs(name), self._inputs(name))):
                total[0] += images * places * taps(layer) * out * into / group_of(layer)
                total[1] += images * places * out
        return spent[0] / whole[0], spent[1] / whole[1]

    def _reached(self, unit: Unit) -> Counter[str]:
        readers = {self._places.get((place.layer, 0)) for place in unit.reads}
        if len(readers) > 1:
            return Counter()
        return sum((self._paths[place.layer] for place in unit.reads), Counter())

    def _outputs(self, name: str) -> int:
        gone = {i for n in self._gone for p in self._units[n].writes if p.layer == name for i in p.indices}
        return widths(self._banks[name])[0] - len(gone)

    def _inputs(self, name: str) -> int:
        gone = {i for n in self._gone for p in self._units[n].reads if p.layer == name for i in p.indices}
        return widths(self._banks[name])[1] - len(gone)


def widths(layer: Any) -> tuple[int, int]:
    """(outputs, inputs) of a filter bank."""
    weight = layer.blob(0)
    return weight.shape[0], weight.shape[1] * group_of(layer)


def group_of(layer: Any) -> int:
    return int(getattr(layer, "group", 1))


def taps(layer: Any) -> int:
    """Places of its kernel."""
    return math.prod(layer.blob(0).shape[2:])
