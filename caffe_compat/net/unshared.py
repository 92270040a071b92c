"""Blobs whose gradient is, in the program of a net, a tensor that nobody else holds: what reads it may write on it.

A layer such as Eltwise SUM hands one tensor down to all its bottoms. Others make a new one, and so does autograd where
several gradients of one blob are added up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caffe_compat.graph.graph import Blob, Node
from caffe_compat.net.build import loss_weights

_MAKES_NEW = frozenset({"BatchNorm", "Convolution", "Deconvolution", "InnerProduct", "LRN", "Pooling"})
_HANDS_DOWN = _MAKES_NEW | {"Concat", "Dropout", "Eltwise", "ReLU", "Scale", "Split"}


def unshared_gradients(steps: Sequence[tuple[Node, Any]]) -> frozenset[Blob]:
    """Of the nodes of a graph and their layers, in order, the blobs of such gradients."""
    certain = _certain(steps)
    readers: dict[Blob, list[Node | None]] = {}  # None: the loss, which hands one number to all values
    found: set[Blob] = set()
    for node, layer in reversed(steps):
        for top, weight in zip(node.tops, loss_weights(node, layer), strict=True):
            if weight:
                readers.setdefault(top, []).append(None)
            if _is_new(readers.get(top, []), certain):
                found.add(top)
        for bottom in node.bottoms:
            if node.param.type == "Split":  # its tops are its bottom
                readers.setdefault(bottom, []).extend(reader for top in node.tops for reader in readers.get(top, []))
            else:
                readers.setdefault(bottom, []).append(node)
    return frozenset(found)


def _is_new(readers: list[Node | None], certain: set[str]) -> bool:
    """Whether the sum of what these give is a new tensor: each of them is, or there surely are two to add."""
    if all(reader is not None and reader.param.type in _MAKES_NEW for reader in readers):
        return True
    return sum(reader is not None and reader.name in certain for reader in readers) > 1


def _certain(steps: Sequence[tuple[Node, Any]]) -> set[str]:
    """The names of the layers that surely give each of their bottoms a gradient where one is wanted."""
    reached: set[Blob] = set()
    names: set[str] = set()
    for node, layer in reversed(steps):
        teaches = node.param.type == "SoftmaxWithLoss" and any(loss_weights(node, layer))
        hands_down = node.param.type in _HANDS_DOWN and any(top in reached for top in node.tops)
        if all(node.propagate_down) and (teaches or hands_down) and getattr(layer, "operation", "SUM") == "SUM":
            names.add(node.name)
            reached.update(node.bottoms[:1] if teaches else node.bottoms)
    return names
