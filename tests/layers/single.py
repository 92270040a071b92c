"""One Caffe layer by itself, from its prototxt."""

from __future__ import annotations

from pathlib import Path

from caffe_compat.layers.base import Context, Layer, Shape
from caffe_compat.layers.registry import create_layer
from caffe_compat.proto.schema import LayerParameter
from caffe_compat.proto.text import parse_text


def build(
    text: str, *shapes: Shape, tops: int = 1, phase: str = "TEST", compat: str = "bvlc", folder: Path | None = None
) -> Layer:
    """The layer 'lay' of the prototxt fields `text`, set up for bottoms b0, b1, ... of these shapes and tops t0, ..."""
    param = parse_text(f'name: "lay" {text}', LayerParameter)
    param.bottom.extend(f"b{index}" for index in range(len(shapes)))
    param.top.extend(f"t{index}" for index in range(tops))
    layer = create_layer(param, Context(phase=phase, compat=compat, folder=folder))
    assert len(shapes) in layer.bottoms
    assert tops in layer.tops
    layer.setup(list(shapes))
    layer.top_shapes(list(shapes))
    return layer
