"""Which filters and which columns of convolutions make and read the same channel, and what a convolution costs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from caffe_compat.graph.channels import Axis, couple_channels
from caffe_compat.net.net import Net
from caffe_compat.solver.methods.layers import PrunedLayer


@dataclass(frozen=True)
class Link:
    """One channel between convolutions: (layer, rows of filters) that make it, (layer, columns) that read it."""

    makes: tuple[tuple[str, list[int]], ...]
    reads: tuple[tuple[str, list[int]], ...]


def multiply_adds(net: Net, layers: Iterable[str]) -> dict[str, int]:
    """Of each of `layers`, for the shapes that the net was built with."""
    names, found, shapes = set(layers), {}, net.shapes
    for node, layer in net.steps:
        if node.name in names:
            bottoms, tops = ([shapes[blob.name] for blob in blobs] for blobs in (node.bottoms, node.tops))
            found[node.name] = layer.multiply_adds(bottoms, tops)
    return found


def links(net: Net, layers: Mapping[str, PrunedLayer]) -> list[Link]:
    """The channels that only convolutions among `layers` make and read, one Link each."""
    found = []
    for each in couple_channels(net.graph, shapes=net.shapes).classes:
        makes = [axis for axis in each.producers if axis.blob == 0]
        if not each.narrowable or not makes or not each.consumers:
            continue
        if any(axis.layer not in layers for axis in (*makes, *each.consumers)):
            continue
        for made, read in _parts(makes, list(each.consumers)):
            found += [
                Link(
                    tuple((axis.layer, list(axis.indices(channel))) for axis in made),
                    tuple((axis.layer, _columns(layers[axis.layer], axis.indices(channel))) for axis in read),
                )
                for channel in range(each.size)
            ]
    return found


def _parts(makes: list[Axis], reads: list[Axis]) -> list[tuple[list[Axis], list[Axis]]]:
    """The places of a class that go by themselves where nothing is cut out: those of each group of a producer.

    The groups of a grouped reader share their columns, so what it reads stays together.
    """
    counts = Counter((role, axis.layer) for role, axes in (("makes", makes), ("reads", reads)) for axis in axes)
    parts = set(counts.values())
    if len(parts) != 1:
        return [(makes, reads)]
    every = [sorted(axes, key=lambda axis: (axis.layer, axis.offset)) for axes in (makes, reads)]
    number = parts.pop()
    return [(every[0][part::number], every[1][part::number]) for part in range(number)]


def _columns(layer: PrunedLayer, channels: Iterable[int]) -> list[int]:
    size = math.prod(layer.tensor.shape[2:])
    return [channel * size + place for channel in channels for place in range(size)]
