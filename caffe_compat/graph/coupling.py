"""Which channels are the same channel: labels that follow the channels of every blob through the layers.

A channel gets a label where a layer makes it. Layers that keep channels apart hand the labels on; what must agree
(the terms of an Eltwise, blobs shared by name) unites labels; what gives a channel its place (a loss, an output, LRN
across channels) or is not known fixes them, with a reason. `channels.couple_channels` makes classes of what is left.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]  # of the elements of an axis, one each
Place = tuple[str, str, int, int]  # (role, layer, blob, axis)


@dataclass
class Coupling:
    """All labels of some graphs while they are followed: what unites them, what fixes them, where they lie."""

    count: int = 0
    whole_groups: Collection[str] = ()  # grouped convolutions of which whole groups go, see graph/channels.py
    pairs: list[tuple[Labels, Labels]] = field(default_factory=list)
    fixed: list[tuple[Labels, str]] = field(default_factory=list)
    places: dict[Place, Labels] = field(default_factory=dict)
    _axes: dict[tuple[str, str, int, int], Labels | None] = field(default_factory=dict)

    def fresh(self, number: int) -> Labels:
        """Labels that nothing else has."""
        self.count += number
        return np.arange(self.count - number, self.count)

    def unite(self, first: Labels, second: Labels) -> None:
        """Element i of both is one channel from now on."""
        if first is not second:
            self.pairs.append((first, second))

    def fix(self, labels: Labels | None, reason: str) -> None:
        """No channel of `labels` may be taken away; the first reason given counts."""
        if labels is not None and labels.size:
            self.fixed.append((labels, reason))

    def agree(self, parts: list[Labels | None], reason: str) -> Labels | None:
        """The labels of blobs that agree channel by channel; where one is not followed, the others are fixed."""
        known = [part for part in parts if part is not None]
        if not known or len(known) < len(parts) or len({part.size for part in known}) > 1:
            for part in known:
                self.fix(part, reason)
            return known[0] if known and len({part.size for part in known}) == 1 else None
        for part in known[1:]:
            self.unite(known[0], part)
        return known[0]

    def lie(self, role: str, param: Any, blob: int, axis: int, labels: Labels | None) -> None:
        """`axis` of blob `blob` of the layer `param` has the channels `labels`, one an element; None: not followed.

        A blob that several layers share by name, or one layer in several graphs, has one set of channels.
        """
        spec = param.param[blob] if blob < len(param.param) else None
        owner = ("shared", spec.name, -1) if spec is not None and spec.name else ("layer", param.name, blob)
        key = (*owner, axis)
        earlier = self._axes.setdefault(key, labels)
        if earlier is not labels:
            reason = f"layer '{param.name}' shares its blob {blob} with a layer where other channels lie in it"
            self._axes[key] = self.agree([earlier, labels], reason)
        if labels is not None and labels.size:
            self.places.setdefault((role, param.name, blob, axis), labels)

    def close(self, param: Any) -> None:
        """Nothing is known of the axes of the blobs of the layer `param`."""
        for blob, spec in enumerate(param.param):
            if spec.name:
                for axis in range(4):
                    self.lie("closed", param, blob, axis, None)


def couple_groups(coupling: Coupling, labels: Labels, groups: int) -> Labels:
    """Unite the channels at one place of each of `groups` equal groups, which so stay equal; the first group's."""
    first, *others = np.split(labels, groups)
    for each in others:
        coupling.unite(first, each)
    return first


def couple_each_group(coupling: Coupling, labels: Labels, groups: int) -> None:
    """Unite the channels of each of `groups` equal groups, which go together or not at all."""
    parts = labels.reshape(groups, -1)
    for place in range(1, parts.shape[1]):
        coupling.unite(parts[:, 0], parts[:, place])


def repeated(labels: Labels, times: int) -> Labels:
    """Every channel `times` times in a row: as a flattened blob, or a depthwise convolution of several outputs."""
    return labels if times == 1 else np.repeat(labels, times)
