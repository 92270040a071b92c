"""What a net's data layer does to pixels before the net sees them, kept as a comment where the layer itself is gone.

# pixels of 'data': {"order": "bgr", "mean": [104.0, 117.0, 123.0], "scale": 0.017}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# Layers of images that OpenCV decodes, channels blue first; those of databases have them as they were stored
_DECODED = frozenset({"DenseImageData", "ImageData", "ImageSegData", "WindowData"})
_STORED = frozenset({"AnnotatedData", "Data"})
_LINE = re.compile(r"^# pixels of '(?P<blob>.*)': (?P<fields>\{.*\})\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Pixels:
    """value = (pixel - mean) * scale, of pixels from 0 to 255, then the crop at the centre.

    mean: one value, or one a channel. mean_file: of a mean image, in its place, from which the same crop is cut. crop:
    0 for none. order: of the channels: "bgr", "grey", or "as stored" in the database (bgr where OpenCV encoded it).
    """

    mean: tuple[float, ...] = ()
    mean_file: str = ""
    scale: float = 1.0
    crop: int = 0
    order: str = "bgr"

    @property
    def changes(self) -> bool:
        """Whether values differ from the pixels."""
        return bool(self.mean or self.mean_file or self.scale != 1)

    def comment(self, blob: str) -> str:
        """The line that keeps this in a prototxt."""
        return f"# pixels of '{blob}': {self.to_json()}"

    def to_json(self) -> str:
        fields: dict[str, Any] = {"order": self.order}
        if self.mean:
            fields["mean"] = list(self.mean)
        if self.mean_file:
            fields["mean_file"] = self.mean_file
        if self.scale != 1:
            fields["scale"] = self.scale
        if self.crop and self.mean_file:
            fields["crop"] = self.crop
        return json.dumps(fields)

    def __str__(self) -> str:
        mean = f"mean {','.join(f'{value:g}' for value in self.mean)}" if self.mean else "no mean"
        crop = f", cropped to {self.crop} at the centre" if self.crop else ""
        mean = f"the mean image {self.mean_file}{crop}" if self.mean_file else mean
        return f"pixels from 0 to 255, channels {self.order}, minus {mean}, times {self.scale:g}".replace(
            "minus no mean", "no mean"
        )


def pixels_of_layer(layer: Any) -> Pixels | None:
    """What a data layer's message says of its first top; None for a layer that gives no images."""
    if layer.type not in _DECODED | _STORED:
        return None
    fields = layer.transform_param
    order = "bgr" if layer.type in _DECODED else "as stored"
    if fields.force_gray or (layer.type == "ImageData" and not layer.image_data_param.is_color):
        order = "grey"
    means = tuple(map(_shortest, fields.mean_value))
    return Pixels(means, fields.mean_file, _shortest(fields.scale), fields.crop_size, order)


def _shortest(value: float) -> float:
    """The shortest decimal that is this float32."""
    return float(str(np.float32(value)))


def read_pixels(text: str) -> dict[str, Pixels]:
    """What the comments of a prototxt keep, by blob; a line that holds something else is passed over."""
    found = {}
    for match in _LINE.finditer(text):
        try:
            found[match["blob"]] = _parsed(json.loads(match["fields"]))
        except (TypeError, ValueError, AttributeError):
            continue
    return found


def _parsed(fields: Mapping[str, Any]) -> Pixels:
    return Pixels(
        tuple(float(value) for value in fields.get("mean", ())),
        str(fields.get("mean_file", "")),
        float(fields.get("scale", 1)),
        int(fields.get("crop", 0)),
        str(fields.get("order", "bgr")),
    )
