"""ImageGtData of MS-CNN (image_gt_data_layer.cpp of zhaoweicai/mscnn), whose files are not read here."""

from __future__ import annotations

from caffe_compat.layers.base import Shape
from caffe_compat.layers.forks.data import ForkData
from caffe_compat.layers.registry import register


@register("ImageGtData")
class ImageGtData(ForkData):
    """MS-CNN's images with a map of labels for each downsample_rate, and last the boxes where output_gt_boxes.

    A map has coord_num + 2 channels: class, box, and overlap. A row of boxes has 7 values.
    """

    def labels(self, images: Shape) -> list[Shape]:
        field = self.param.image_gt_data_param
        maps = [
            (images[0], field.coord_num + 2, *(size // max(rate, 1) for size in images[2:]))
            for rate in field.downsample_rate
        ]
        return [*maps, (1, 7, 1, 1)]
