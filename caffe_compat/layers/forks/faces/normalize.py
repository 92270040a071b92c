"""Normalize of happynear's fork (normalize_layer.cpp of happynear/caffe-windows)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape
from caffe_compat.layers.fields import refuse_other_fields
from caffe_compat.layers.kinks import absolute
from caffe_compat.layers.registry import variant
from caffe_compat.layers.table import SEVERAL_TOPS

_EPS = 1e-6


class ChannelNormalize(Layer):
    """happynear's Normalize: x by its length over the channels at each place, without blobs.

    The length is sqrt(sum(x^2) + 1e-6), with normalize_type L1 sum(|x|) + 1e-6. A second top has it, (N, 1, H, W);
    what comes back through that counts only with bp_norm. fix_gradient does nothing there either.
    """

    tops = Count(1, 2)
    works_in_place = False

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.normalize_param
        refuse_other_fields(self.name, "normalize_param", field, ("normalize_type", "fix_gradient", "bp_norm"))
        if field.normalize_type not in ("L1", "L2"):
            raise UnsupportedParameterError(
                f"layer '{self.name}': normalize_param.normalize_type is '{field.normalize_type}'; allowed: L1, L2"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        if len(shape) < 2:
            raise ShapeError(f"layer '{self.name}': a bottom of shape {shape} has no axis 1 for the channels")
        return [shape, (shape[0], 1, *shape[2:])][: max(1, len(self.param.top))]

    def forward(self, *bottoms: Tensor) -> Any:
        (x,), field = bottoms, self.param.normalize_param
        if field.normalize_type == "L1":
            length = absolute(x).sum(1, keepdim=True) + _EPS
        else:
            length = (x.square().sum(1, keepdim=True) + _EPS).sqrt()
        if len(self.param.top) < 2:
            return x / length
        return x / length, length if field.bp_norm else length.detach()


@variant("Normalize", "normalize_param", SEVERAL_TOPS)
def _of_its_fork(param: Any) -> type[Layer] | None:
    return ChannelNormalize if param.HasField("normalize_param") or len(param.top) > 1 else None
