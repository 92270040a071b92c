"""The Transformer that Classifier and Detector make of their arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from caffe_compat.pycaffe.io import Transformer


def transformer_of(net: Any, mean: Any, input_scale: Any, raw_scale: Any, channel_swap: Any) -> Transformer:
    """For images (height, width, channels) into the first input of `net`; what is None is not done."""
    name = net.inputs[0]
    transformer = Transformer({name: net.blobs[name].data.shape})
    transformer.set_transpose(name, (2, 0, 1))
    given: list[tuple[Callable[[str, Any], None], Any]] = [
        (transformer.set_mean, mean),
        (transformer.set_input_scale, input_scale),
        (transformer.set_raw_scale, raw_scale),
        (transformer.set_channel_swap, channel_swap),
    ]
    for choose, value in given:
        if value is not None:
            choose(name, value)
    return transformer
