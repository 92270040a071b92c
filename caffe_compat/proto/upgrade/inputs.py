"""Inputs declared by the net, now an Input layer of their own.

Given:
    input: "data" input_dim: 1 input_dim: 3 input_dim: 32 input_dim: 32
Result:
    layer { name: "input" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 32 dim: 32 } } }
"""

from __future__ import annotations

from typing import Any

from caffe_compat.errors import ParseError
from caffe_compat.proto.schema import LayerParameter

WHAT = "its input fields to an Input layer"


def needed(net: Any) -> bool:
    """Whether the net declares inputs."""
    return len(net.input) > 0


def upgrade(net: Any) -> list[str]:
    """Rewrite `net`; a net that names inputs and no shape only loses the names, as in Caffe.

    Raises ParseError where an input has no shape although another has one.
    """
    if net.input_shape or net.input_dim:
        layer = LayerParameter(name="input", type="Input", top=net.input)
        for i, name in enumerate(net.input):
            layer.input_param.shape.add(dim=_shape(net, i, name))
        net.layer.insert(0, layer)
    for field in ("input", "input_shape", "input_dim"):
        net.ClearField(field)
    return []


def _shape(net: Any, i: int, name: str) -> list[int]:
    if net.input_shape:
        if i < len(net.input_shape):
            return list(net.input_shape[i].dim)
    elif len(net.input_dim) >= 4 * (i + 1):
        return list(net.input_dim[4 * i : 4 * i + 4])
    raise ParseError(f"input '{name}' has no shape; give four input_dim or one input_shape for each input")
