"""DeformablePSROIPooling (deformable_psroi_pooling_layer.cu of makefile/frcnn; Dai et al. 2017)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Count, Shape
from caffe_compat.layers.regions import RegionLayer, rounded
from caffe_compat.layers.registry import register
from caffe_compat.layers.sampling import interpolated


@register("DeformablePSROIPooling")
class DeformablePSROIPooling(RegionLayer):
    """PSROIPooling whose bins are moved by bottom 2; each is the mean of sample_per_part^2 values between pixels.

    Bottom 2 (R, 2 * classes, part_size, part_size), none with no_trans: the moves to the right and down of each part
    of a region, in sizes of the region times trans_std, for each of `classes` equal parts of output_dim. Top
    (R, output_dim, group_size, group_size): the port takes group_size for pooled_size. Values more than half a pixel
    outside the image do not count; a bin without any is 0.
    """

    bottoms: ClassVar[Count] = Count(2, 3)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        self.field = field = param.deformable_psroi_pooling_param
        self.moves = not field.no_trans
        counts = (field.output_dim, field.group_size, field.sample_per_part, field.part_size if self.moves else 1)
        if min(counts) < 1 or field.spatial_scale <= 0 or len(param.bottom) != 2 + self.moves:
            raise UnsupportedParameterError(
                f"layer '{self.name}': deformable_psroi_pooling_param has output_dim {counts[0]}, group_size "
                f"{counts[1]}, sample_per_part {counts[2]}, part_size {field.part_size}, spatial_scale "
                f"{field.spatial_scale:g}, no_trans {field.no_trans} for {len(param.bottom)} bottoms; wanted positive "
                "values, and 3 bottoms, or 2 with no_trans"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        self.check_regions(bottom_shapes[:2])
        field, count = self.field, bottom_shapes[1][0]
        wanted = field.output_dim * field.group_size**2
        if bottom_shapes[0][1] != wanted:
            raise ShapeError(f"layer '{self.name}': bottom {bottom_shapes[0]} has other channels than {wanted}")
        if self.moves:
            shape, part = bottom_shapes[2], field.part_size
            fits = len(shape) == 4 and shape[0] == count and shape[2:] == (part, part)
            if not fits or shape[1] < 2 or shape[1] % 2 or field.output_dim % (shape[1] // 2):
                raise ShapeError(
                    f"layer '{self.name}': bottom 2 is {shape}, wanted ({count}, 2 * classes, {part}, {part})"
                )
        return [(count, field.output_dim, field.group_size, field.group_size)]

    def forward(self, *bottoms: Tensor) -> Tensor:
        features, rois = bottoms[:2]
        regions = self.regions(features, rois)
        start = rounded(regions[:, 1:3]) * self.field.spatial_scale - 0.5
        end = (rounded(regions[:, 3:5]) + 1) * self.field.spatial_scale - 0.5
        start, size = start.to(features), (end - start).clamp(min=0.1).to(features)
        at, low, high, inside = [], [], [], None
        for axis, extent in ((1, features.shape[2]), (0, features.shape[3])):  # rows, then columns
            moved = self._moves(bottoms[2], axis) * size[:, axis, None, None, None] if self.moves else None
            place = self._samples(start[:, axis], size[:, axis], axis)
            place = place if moved is None else place + moved[..., None, None]
            known = (place >= -0.5) & (place <= extent - 0.5)
            inside = known if inside is None else inside & known
            at.append(torch.where(place < 0, 0.0, torch.where(place > extent - 1, extent - 1.0, place)))
            low.append(at[-1].detach().floor())
            high.append(at[-1].detach().ceil())
        read = self._reader(features, regions[:, 0].long().to(features.device))
        found = interpolated((low[0], low[1]), (high[0], high[1]), (at[0], at[1]), read)
        assert inside is not None
        inside = inside.expand(found.shape)
        return torch.where(inside, found, 0).sum((4, 5)) / inside.sum((4, 5)).clamp(min=1)

    def _samples(self, start: Tensor, size: Tensor, axis: int) -> Tensor:
        """Columns (axis 0) or rows (1) of the samples, unmoved: (R, 1, bins or 1, bins or 1, samples or 1, ..)."""
        bins, samples = self.field.group_size, self.field.sample_per_part
        bin_at, sample_at = (torch.arange(count, device=size.device).to(size.dtype) for count in (bins, samples))
        steps = bin_at[:, None] + sample_at / samples
        places: Tensor = start[:, None, None] + steps * (size / bins)[:, None, None]
        rows = (len(size), 1, bins, 1, samples, 1) if axis else (len(size), 1, 1, bins, 1, samples)
        return places.reshape(rows)

    def _moves(self, moves: Tensor, axis: int) -> Tensor:
        """The moves of every bin of every output: (R, output_dim, bins, bins)."""
        bins = self.field.group_size
        part = torch.arange(bins, device=moves.device) * self.field.part_size // bins
        own = moves[:, axis::2] * self.field.trans_std
        own = own.repeat_interleave(self.field.output_dim // own.shape[1], 1)
        spread: Tensor = own[:, :, part[:, None], part]
        return spread

    def _reader(self, features: Tensor, items: Tensor) -> Any:
        channels, height, width = features.shape[1:]
        bins, flat = self.field.group_size, features.reshape(-1)
        channel = torch.arange(channels, device=items.device).view(1, self.field.output_dim, bins, bins, 1, 1)
        plane = (items.view(-1, 1, 1, 1, 1, 1) * channels + channel) * (height * width)
        return lambda row, column: flat[plane + (row * width + column).long()]
