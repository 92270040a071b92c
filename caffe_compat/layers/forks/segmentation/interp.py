"""Interp of DeepLab and PSPNet (interp_layer.cpp of each; use_blob_size of soeaver's fork)."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Layer, Shape
from caffe_compat.layers.fields import given
from caffe_compat.layers.registry import register


@register("Interp")
class Interp(Layer):
    """Bilinear interpolation whose corners stay corners (interp_layer.cpp of DeepLab and PSPNet).

    The bottom loses -pad_beg rows and columns at its start and -pad_end at its end; then its size n becomes
    (n - 1) / shrink_factor + 1, then (n - 1) * zoom_factor + 1, or height x width where no single factor is given, or
    the size of bottom 1 (`use_blob_size`, soeaver's fork).
    """

    bottoms = Count(1, 2)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.interp_param
        self.crop: tuple[int, int] = (-field.pad_beg, -field.pad_end)
        self.shrink: int | None = given(field, "shrink_factor")
        self.zoom: int | None = given(field, "zoom_factor")
        self.size = (field.height, field.width) if field.HasField("height") and field.HasField("width") else None
        if min(self.crop) < 0:
            raise UnsupportedParameterError(
                f"layer '{self.name}': interp_param.pad_beg {field.pad_beg} and pad_end {field.pad_end} may not be "
                "positive"
            )
        for name, factor in (("shrink_factor", self.shrink), ("zoom_factor", self.zoom)):
            if factor is not None and factor < 1:
                raise UnsupportedParameterError(
                    f"layer '{self.name}': interp_param.{name} is {factor}; it must be positive"
                )
        if (self.shrink, self.zoom, self.size) == (None, None, None) and len(param.bottom) == 1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': interp_param gives no size; set zoom_factor, shrink_factor, or height and width"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape = bottom_shapes[0]
        if len(shape) != 4:
            raise ShapeError(f"layer '{self.name}': a bottom of shape {shape} is not (N, C, H, W)")
        if len(bottom_shapes) == 2:
            size = bottom_shapes[1][2:]
        elif self.size is not None and (self.shrink is None) == (self.zoom is None):
            size = self.size
        else:
            size = (self._scaled(shape[2]), self._scaled(shape[3]))
        if min(*size, *(extent - sum(self.crop) for extent in shape[2:])) < 1:
            raise ShapeError(f"layer '{self.name}': a bottom of shape {shape} leaves nothing to interpolate")
        return [(*shape[:2], *size)]

    def forward(self, *bottoms: Tensor) -> Tensor:
        x = bottoms[0]
        size = self.top_shapes([tuple(bottom.shape) for bottom in bottoms])[0][2:]
        begin, end = self.crop
        x = x[:, :, begin : x.shape[2] - end, begin : x.shape[3] - end]
        return x if tuple(x.shape[2:]) == size else functional.interpolate(x, size, mode="bilinear", align_corners=True)

    def _scaled(self, extent: int) -> int:
        extent = (extent - sum(self.crop) - 1) // (self.shrink or 1) + 1
        return (extent - 1) * (self.zoom or 1) + 1
