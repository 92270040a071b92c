"""AnnotatedData and AnnotatedRData of SSD (annotated_data_layer.cpp of weiliu89/caffe, branch ssd, and its kin).

The files are not read here: the user gives the values.
"""

from __future__ import annotations

from caffe_compat.errors import MissingDataError
from caffe_compat.layers.base import Shape
from caffe_compat.layers.forks.data import ForkData
from caffe_compat.layers.registry import register


@register("AnnotatedData")
@register("AnnotatedRData")
class AnnotatedData(ForkData):
    """SSD's images with boxes: labels (1, 1, boxes, 8).

    A row is (item, class, instance, xmin, ymin, xmax, ymax, difficult); the number of rows differs from batch to batch.
    MobileNet-YOLO has (batch, 1, 300, 5) for yolo_data_type 1. Its third top, segment labels, has as many channels as
    the file of label names tells, which is not read: the user gives its shape.
    """

    segments = 0

    def labels(self, images: Shape) -> list[Shape]:
        field = self.param.annotated_data_param
        planes = [size // max(field.seg_scales, 1) for size in images[2:]]
        if field.seg_resize_height and field.seg_resize_width:
            planes = [field.seg_resize_height, field.seg_resize_width]
        boxes = (images[0], 1, 300, 5) if field.yolo_data_type == 1 else (1, 1, images[0], 8)
        if len(self.param.top) > 2 and not self.segments:
            raise MissingDataError(
                f"layer '{self.name}': how many classes of segments '{self.param.top[2]}' has is not known; give its "
                f"shape: {', '.join(f'--input {top}=SHAPE' for top in self.param.top)}"
            )
        return [boxes, (images[0], self.segments, *planes)]
