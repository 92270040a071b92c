"""Normalize of two forks (normalize_layer.cpp of each): weiliu89/caffe for SSD, and happynear/caffe-windows."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape
from caffe_compat.layers.caffe.activation import Elementwise
from caffe_compat.layers.fields import refuse_other_fields
from caffe_compat.layers.registry import register, variant
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
            length = x.abs().sum(1, keepdim=True) + _EPS
        else:
            length = (x.square().sum(1, keepdim=True) + _EPS).sqrt()
        if len(self.param.top) < 2:
            return x / length
        return x / length, length if field.bp_norm else length.detach()


@variant("Normalize")
def _of_its_fork(param: Any) -> type[Layer] | None:
    return ChannelNormalize if param.HasField("normalize_param") or len(param.top) > 1 else None
