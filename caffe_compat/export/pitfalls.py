"""What builds and runs, and yet is not what its author meant: memory reused in place, statistics that count as 0."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from caffe_compat.graph.graph import Blob, Graph, Node

# Layers whose tops use the memory of their bottom in Caffe (ShareData)
_SHARING = frozenset({"Split", "Flatten", "Reshape"})
# Layers whose gradient Caffe computes from their top, and from their bottom
_NEED_TOP = frozenset({"Sigmoid", "TanH", "Softmax", "Exp", "ELU", "LRN", "MVN", "Swish"})
_NEED_BOTTOM = frozenset(
    {"AbsVal", "BNLL", "Convolution", "Deconvolution", "ELU", "InnerProduct", "Log", "LRN", "MVN", "PReLU", "Power",
     "Scale"}
)  # fmt: skip

# Layers that may change the sign of what they work on in place; a ReLU before them takes its gradient from that sign
_CHANGE_SIGN = frozenset({"BatchNorm", "Scale", "Bias", "Power", "MVN", "Log"})

_MOST_USERS = 300  # of one memory; no real net has as many, and the search takes the cube of their number


def overwritten(graph: Graph) -> Iterator[tuple[str, str]]:
    """(layer, message) for every layer that would find its blob overwritten by an in-place layer, in Caffe.

    Caffe's Split, Flatten and Reshape give their top the memory of their bottom, so that an in-place layer behind them
    changes what others read. Here every layer gets the value that its prototxt says.
    """
    sharing: dict[Blob, Blob] = {}  # a blob -> the earlier one that has the same memory
    for node in graph.nodes:
        if _in_place(node) or _shares(node):
            tops = node.tops if node.param.type == "Split" else node.tops[:1]
            sharing.update((top, node.bottoms[0]) for top in tops)
    for places in _same_memory(graph, sharing):
        for at in places:
            node = graph.nodes[at]
            if _in_place(node) and not (node.param.type == "Dropout" and graph.phase == "TEST"):
                for place in places:
                    message = _misread(graph, node, at, graph.nodes[place], place, sharing)
                    if message:
                        yield graph.nodes[place].name, message


def _same_memory(graph: Graph, sharing: Mapping[Blob, Blob]) -> Iterator[list[int]]:
    """For each memory that several blobs lie in: the numbers of the nodes that read or write it."""
    root: dict[Blob, Blob] = {}
    users: dict[Blob, dict[int, None]] = {}
    for index, node in enumerate(graph.nodes):
        for blob in (*node.bottoms, *node.tops):
            earlier = sharing.get(blob)
            root[blob] = blob if earlier is None else root.get(earlier, earlier)
            users.setdefault(root[blob], {})[index] = None
    for places in users.values():
        if 2 < len(places) <= _MOST_USERS:
            yield list(places)


def _misread(graph: Graph, node: Node, at: int, other: Node, place: int, sharing: Mapping[Blob, Blob]) -> str:
    """What `other` would find changed by the in-place layer `node`; empty where nothing."""
    if other is node and graph.phase == "TRAIN" and _needs_what_it_overwrites(node.param):
        return f"layer '{node.name}': in Caffe, its gradient is computed from its bottom, which it overwrites"
    if other is node or _shares(other):
        return ""
    root, kind = _chain(node.tops[0], sharing)[-1], other.param.type
    before = [blob for blob in other.bottoms if root == _chain(blob, sharing)[-1]]
    before = [blob for blob in before if node.tops[0] not in _chain(blob, sharing)]
    start = f"layer '{other.name}': in Caffe, layer '{node.name}' works in place on the memory of "
    remedy = f"give '{node.name}' a top of its own"
    if before and place > at:
        return f"{start}its bottom '{_own_name(before[0], sharing)}' before it is read; {remedy}"
    if graph.phase == "TEST" or place > at:
        return ""
    if any(_chain(top, sharing)[-1] == root for top in other.tops) and kind in _NEED_TOP:
        return f"{start}its top '{other.tops[0].name}', from which its gradient is computed; {remedy}"
    if kind == "ReLU" and _in_place(other) and node.param.type in _CHANGE_SIGN and place < at:
        return f"{start}its blob '{other.tops[0].name}', whose sign decides its gradient; {remedy}"
    if before and kind in _NEED_BOTTOM and not _in_place(other):
        return f"{start}its bottom '{_own_name(before[0], sharing)}', from which its gradient is computed; {remedy}"
    return ""


def _needs_what_it_overwrites(param: Any) -> bool:
    return param.type in ("BNLL", "Clip", "Log") or (param.type == "Power" and param.power_param.power not in (0, 1))


def _in_place(node: Node) -> bool:
    return bool(node.bottoms and node.tops and node.tops[0].name == node.bottoms[0].name)


def _shares(node: Node) -> bool:
    return node.param.type in _SHARING and bool(node.bottoms)


def _chain(blob: Blob, sharing: Mapping[Blob, Blob]) -> list[Blob]:
    """`blob`, and the earlier blobs in whose memory it lies; the last one is where that memory was made."""
    chain = [blob]
    while chain[-1] in sharing:
        chain.append(sharing[chain[-1]])
    return chain


def _own_name(blob: Blob, sharing: Mapping[Blob, Blob]) -> str:
    """The name that the prototxt has for `blob`, which may be a Split's copy."""
    return next(each.name for each in _chain(blob, sharing) if not re.search(r"_split_\d+$", each.name))


def odd_values(layer: Any, blobs: Sequence[np.ndarray]) -> Iterator[str]:
    """A message for everything in the weights of a layer that no training leaves there."""
    for index, blob in enumerate(blobs):
        bad = blob.size - int(np.isfinite(blob).sum())
        if bad:
            yield f"layer '{layer.name}': blob {index} has {bad} of {blob.size} values that are not finite"
    if layer.type == "BatchNorm" and len(blobs) == 3:
        mean, variance, factor = blobs
        if factor.size and not factor.flat[0] and (mean.any() or variance.any()):
            yield (
                f"layer '{layer.name}': factor (blob 2) is 0, so that Caffe takes mean and variance as 0 although "
                "they are not; if they are the statistics themselves, set it to 1"
            )
        if (variance * (factor.flat[0] if factor.size else 1) < 0).any():
            yield f"layer '{layer.name}': variance (blob 1) has values below 0, whose root is not a number"
