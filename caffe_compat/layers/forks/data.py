"""Data layers of forks, whose files are not read here: they say the shapes of their tops, the user gives the values.

Source: the data layers of weiliu89/caffe (AnnotatedData, VideoData), yjxiong/caffe (VideoData, SegData),
alexgkendall/caffe-segnet (DenseImageData), hszhao/PSPNet and DeepLab (ImageSegData), s9xie/hed (ImageLabelmapData),
zhaoweicai/mscnn (ImageGtData), eric612/MobileNet-YOLO (LaneData), leetonfreestyle/DMSH (HashingImageData),
happynear/caffe-windows (MultiLabelImageData), makefile/frcnn (FrcnnRoiData), lmb-freiburg/flownet2 (CustomData).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from caffe_compat.errors import DataError
from caffe_compat.layers.base import Count, Shape
from caffe_compat.layers.registry import register
from caffe_compat.layers.source import SourceLayer

_SETTINGS = (
    "image_gt_data_param", "dense_image_data_param", "video_data_param", "seg_data_param", "image_data_param",
    "data_param", "window_data_param",
)  # fmt: skip
# Where height and width stand, the first that is given counts: what is cut out, then what is resized to
_PLANES = (
    ("crop_size", "crop_size"), ("crop_h", "crop_w"), ("crop_height", "crop_width"), ("height", "width"),
    ("resize_height", "resize_width"), ("new_height", "new_width"),
)  # fmt: skip


class ForkData(SourceLayer):
    """A source whose tops the user gives: images (batch, channels, height, width), then what `labels` says."""

    tops: ClassVar[Count] = Count(1)
    fed: ClassVar[bool] = True
    fork_fields: ClassVar[frozenset[str]] = frozenset({"*"})  # the values are the user's, whatever the prototxt says

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        batch = next((size for size in self._values("batch_size") if size), 0)
        height, width = self._plane()
        if not (batch and height and width):
            raise DataError(
                f"layer '{self.name}': a layer of type {self.param.type} reads files of its fork, which are not read "
                f"here, and its prototxt does not tell their shape; give it: "
                f"{', '.join(f'--input {top}=SHAPE' for top in self.param.top)}"
            )
        images = (batch, self.channels(), height, width)
        return [images, *self.labels(images)][: len(self.param.top)]

    def channels(self) -> int:
        """3, or 1 where the layer reads grey images."""
        is_grey = any(not is_color for is_color in self._values("is_color"))
        return 1 if is_grey or any(self._values("grayscale")) else 3

    def labels(self, images: Shape) -> list[Shape]:
        """The shapes of the tops after the first: one value an item."""
        return [images[:1]] * (len(self.param.top) - 1)

    def _values(self, field: str) -> Iterator[Any]:
        for name in _SETTINGS:
            if self.param.HasField(name) and field in getattr(self.param, name).DESCRIPTOR.fields_by_name:
                yield getattr(getattr(self.param, name), field)

    def _plane(self) -> tuple[int, int]:
        transform = self.param.transform_param
        messages = [transform, *list(transform.resize_param)[:1]]
        messages += [getattr(self.param, name) for name in _SETTINGS if self.param.HasField(name)]
        for height, width in _PLANES:
            for message in messages:
                size = (int(getattr(message, height, 0)), int(getattr(message, width, 0)))
                if all(size):
                    return size
        return 0, 0


@register("HashingImageData")
@register("MultiLabelImageData")
@register("FrcnnRoiData")
@register("FrcnnVidData")
@register("CustomData")
class OtherData(ForkData):
    """A fork's data layer of which only the images' shape is known; labels count as one value an item."""


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
            raise DataError(
                f"layer '{self.name}': how many classes of segments '{self.param.top[2]}' has is not known; give its "
                f"shape: {', '.join(f'--input {top}=SHAPE' for top in self.param.top)}"
            )
        return [boxes, (images[0], self.segments, *planes)]


@register("LaneData")
class LaneData(AnnotatedData):
    """MobileNet-YOLO's images with lanes: up to 5 lanes of 64 nodes (x, y, class) an item, and segment labels."""

    segments = 1

    def labels(self, images: Shape) -> list[Shape]:
        return [(images[0], 5, 64, 3), super().labels(images)[1]]


@register("DenseImageData")
@register("ImageLabelmapData")
@register("ImageSegData")
@register("SegData")
class DenseData(ForkData):
    """Images with a label for every pixel, (batch, 1, height, width); a third top has the size of each image."""

    def labels(self, images: Shape) -> list[Shape]:
        return [(images[0], 1, *images[2:]), (images[0], 1, 1, 2)]


@register("VideoData")
class VideoData(ForkData):
    """Frames of videos with one label an item.

    The segment networks' fork stacks new_length frames of num_segments segments in the channels: x and y of the FLOW,
    or the colours of RGB. SSD's gives one frame an item.
    """

    def channels(self) -> int:
        field = self.param.video_data_param
        if not field.HasField("source"):
            return super().channels()
        frames = max(field.new_length, 1) * max(field.num_segments, 1)
        colours = 2 if field.modality == type(field).FLOW else super().channels()
        return int(frames * colours)


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
