"""Layers that Caffe cannot run on blobs of no items: a CHECK of its BLAS (n > 0), or a division by their number.

Found by running each type of Caffe 1.0 (9b89154) on blobs reshaped to a batch of 0; the others give blobs of no items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_RESHAPE, _FORWARD, _BACKWARD = "reshape", "forward", "backward"
_ENDS: Mapping[str, str] = {  # the first of these that ends the process
    **dict.fromkeys(("Accuracy", "BatchNorm"), _RESHAPE),
    **dict.fromkeys(
        ("AbsVal", "ContrastiveLoss", "EuclideanLoss", "Exp", "Filter", "HingeLoss", "InfogainLoss", "LRN", "Log",
         "MVN", "MultinomialLogisticLoss", "SPP", "Softmax", "SoftmaxWithLoss", "Swish"),
        _FORWARD,
    ),
    **dict.fromkeys(("Scale", "SigmoidCrossEntropyLoss"), _BACKWARD),
}  # fmt: skip


def end_of_empty(param: Any, shapes: Sequence[tuple[int, ...]]) -> str:
    """ "reshape", "forward" or "backward": where Caffe ends at bottoms of these shapes; "" where it does not."""
    if not any(0 in shape for shape in shapes):
        return ""
    if param.type == "Eltwise":
        return _FORWARD if param.eltwise_param.operation == param.eltwise_param.PROD else ""
    if param.type == "Power":
        fields = param.power_param
        return "" if fields.power * fields.scale == 0 else _BACKWARD if fields.power == 1 else _FORWARD
    return _ENDS.get(param.type, "")


def words_for_empty(param: Any, shapes: Sequence[tuple[int, ...]]) -> str:
    """What to say there."""
    return f"Check failed: n > 0 (0 vs. 0) layer '{param.name}': {param.type} cannot run on a bottom of {shapes[0]}"
