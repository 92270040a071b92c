"""What a drawing of a net shows: a box for each layer with the in-place layers behind it, and what flows between."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from caffe_compat.graph.graph import Blob, Node
from caffe_compat.layers.base import Layer, Shape
from caffe_compat.net.net import Net


@dataclass
class Box:
    """One layer: its settings in short, the shapes of its tops, what it costs, and the in-place layers behind it.

    rank and largest_rank: of its filters at the share of energy asked for; 0 where there are none. labels: what it
    reads of a data layer beside the data, which a line through the whole drawing would only clutter.
    """

    name: str
    type: str
    settings: str
    shapes: tuple[Shape, ...]
    parameters: int
    multiply_adds: int
    rank: int = 0
    largest_rank: int = 0
    labels: list[str] = field(default_factory=list)
    in_place: list[Box] = field(default_factory=list)


def boxes_of(net: Net, ranks: Mapping[str, int]) -> tuple[list[Box], list[tuple[int, int]]]:
    """The boxes of a net in order, Splits left out, and the edges between them as pairs of their numbers."""
    boxes: list[Box] = []
    edges: list[tuple[int, int]] = []
    owner: dict[Blob, int] = {}
    labels: dict[Blob, str] = {}
    seen: set[int] = set()
    for node, layer in net.steps:
        if node.param.type == "Split":
            (copied,) = node.bottoms
            owner.update(dict.fromkeys(node.tops, owner[copied]))
            if copied in labels:
                labels.update(dict.fromkeys(node.tops, labels[copied]))
            continue
        box = _box(net, node, layer, ranks, seen)
        if len(node.bottoms) == 1 and [top.name for top in node.tops] == [node.bottoms[0].name]:
            number = owner[node.bottoms[0]]
            boxes[number].in_place.append(box)
        else:
            number = len(boxes)
            boxes.append(box)
            edges += [(owner[blob], number) for blob in node.bottoms if blob not in labels]
            box.labels += [labels[blob] for blob in node.bottoms if blob in labels]
        if not node.bottoms:
            labels.update((top, top.name) for top in node.tops[1:])
        owner.update(dict.fromkeys(node.tops, number))
    return boxes, edges


def _box(net: Net, node: Node, layer: Layer, ranks: Mapping[str, int], seen: set[int]) -> Box:
    owned = sum(blob.numel() for blob in layer.blobs if id(blob) not in seen)
    seen.update(id(blob) for blob in layer.blobs)
    bottoms, tops = ([net.shapes[blob.name] for blob in blobs] for blobs in (node.bottoms, node.tops))
    spent = layer.multiply_adds(bottoms, tops) // net.batch_size
    box = Box(node.name, node.param.type, _settings(node.param), tuple(tops), owned, spent)
    if node.name in ranks and len(layer.blobs):
        filters, *rest = layer.blob_shapes[0]
        group = max(1, node.param.convolution_param.group)
        box.rank, box.largest_rank = ranks[node.name], group * min(filters // group, math.prod(rest))
    return box


def _settings(param: Any) -> str:
    """The settings that tell one layer of a type from another, such as `3x3 /2 +1`: kernel, stride and pad."""
    if param.type in ("Convolution", "Deconvolution", "Pooling"):
        return _window(param.pooling_param if param.type == "Pooling" else param.convolution_param, param.type)
    if param.type == "Dropout":
        return f"{param.dropout_param.dropout_ratio:g}"
    if param.type == "LRN":
        return f"size {param.lrn_param.local_size}"
    if param.type == "Eltwise":
        return str(param.eltwise_param.EltwiseOp.Name(param.eltwise_param.operation))
    return ""


def _window(fields: Any, kind: str) -> str:
    words = []
    if kind == "Pooling":
        words.append(fields.PoolMethod.Name(fields.pool))
        if fields.global_pooling:
            return f"{words[0]} global"
    for sign, name, stem, usual in (
        ("", "kernel_size", "kernel", 0),
        ("/", "stride", "stride", 1),
        ("+", "pad", "pad", 0),
    ):
        sizes = _sizes(fields, name, stem)
        if sizes and set(sizes) != {usual}:
            words.append(sign + (f"{sizes[0]}" if sign and len(set(sizes)) == 1 else "x".join(map(str, sizes))))
    if kind != "Pooling" and fields.group > 1:
        words.append(f"{fields.group} groups")
    if kind != "Pooling" and any(dilation > 1 for dilation in fields.dilation):
        words.append(f"dilation {fields.dilation[0]}")
    return " ".join(words)


def _sizes(fields: Any, name: str, stem: str) -> list[int]:
    """Height and width of a setting that prototxts give in several forms; empty where it is not given."""
    if fields.HasField(f"{stem}_h") or fields.HasField(f"{stem}_w"):
        return [getattr(fields, f"{stem}_h"), getattr(fields, f"{stem}_w")]
    value = getattr(fields, name)
    sizes = [value] if isinstance(value, int) else list(value)
    if not sizes or not any(sizes):
        return []
    return sizes * 2 if len(sizes) == 1 else sizes
