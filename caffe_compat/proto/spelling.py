"""Fields that are written out although they have Caffe's default, for readers that have another one."""

from __future__ import annotations

from typing import Any


def spell_out_norms(net: Any) -> None:
    """Write `alpha` of every LRN of a NetParameter: OpenCV 4.14 takes 1e-4 where it is missing, Caffe 1."""
    for layer in net.layer:
        if layer.type == "LRN" and not layer.lrn_param.HasField("alpha"):
            layer.lrn_param.alpha = layer.lrn_param.alpha
