"""Normalize of SSD (normalize_layer.cpp of weiliu89/caffe, branch ssd)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Context, Elementwise, Shape
from caffe_compat.layers.fields import refuse_other_fields
from caffe_compat.layers.registry import register
from caffe_compat.proto.schema import FillerParameter


@register("Normalize")
class Normalize(Elementwise):
    """scale * x / sqrt(sum(x^2) + eps), the sum over a whole item (across_spatial) or over the channels at each place.

    Blob 0: one scale in all (channel_shared) or one a channel (axis 1); 1 by default. A layer with normalize_param or
    with two tops is happynear's instead (ChannelNormalize).
    """

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.norm_param
        known = ("across_spatial", "scale_filler", "channel_shared", "eps")
        refuse_other_fields(self.name, "norm_param", field, known)
        self.across_spatial: bool = field.across_spatial
        self.channel_shared: bool = field.channel_shared
        self.eps: float = field.eps

    def setup(self, bottom_shapes: list[Shape]) -> None:
        shape = bottom_shapes[0]
        if len(shape) < 2:
            raise ShapeError(f"layer '{self.name}': a bottom of shape {shape} has no axis 1 for the channels")
        field = self.param.norm_param
        filler = field.scale_filler if field.HasField("scale_filler") else FillerParameter(type="constant", value=1)
        self.add_blob(() if self.channel_shared else (shape[1],), filler)

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        axes = tuple(range(1, x.dim())) if self.across_spatial else 1
        scale = self.blob(0)
        if not self.channel_shared:
            scale = scale.view(-1, *(1,) * (x.dim() - 2))
        return x * (x.square().sum(axes, keepdim=True) + self.eps).rsqrt() * scale
