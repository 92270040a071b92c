"""What data layers of forks have in common, whose files are not read here: shapes of tops; the user gives values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from caffe_compat.errors import MissingDataError
from caffe_compat.layers.base import Count, Shape
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
            raise MissingDataError(
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
