"""Which of several layers of one name the name's weights belong to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_TYPES = frozenset(
    {"Convolution", "Deconvolution", "DepthwiseConvolution", "ConvolutionDepthwise", "InnerProduct", "Embed",
     "BatchNorm", "PReLU", "Scale", "Bias"}
)  # fmt: skip


def owns_weights(layer: Any) -> bool:
    """Whether a layer's message is of a type whose blobs have channels; a ReLU of the same name has none."""
    return layer.type in _TYPES


def owners(layers: Iterable[Any]) -> dict[str, Any]:
    """By name the layer, of several of one name the first that owns weights."""
    return {layer.name: layer for layer in sorted(reversed(list(layers)), key=owns_weights)}
