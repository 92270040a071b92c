"""What the layers of MS-CNN have in common (detection_loss_layer.cpp and box_output_layer.cpp of zhaoweicai/mscnn).

A head's channels are class scores, class 0 the background, then x, y, w, h: the centre's shift from the middle of its
place in units of field_w and field_h, and the logarithms of width and height in those units. A label map's channels are
the class, the centre x, y, the width and height in pixels, and the overlap with the box that came nearest.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Layer, Shape, exactly

COORDINATES = 4


def statistics(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """bbox_mean and bbox_std of bbox_reg_param, 0 and 1 where they are not given; float64 (4,)."""
    field = layer.param.bbox_reg_param
    if not (field.bbox_mean and field.bbox_std):
        return np.zeros(COORDINATES), np.ones(COORDINATES)
    mean, std = np.array(field.bbox_mean), np.array(field.bbox_std)
    if (mean.size, std.size) != (COORDINATES, COORDINATES) or (std <= 0).any():
        raise UnsupportedParameterError(
            f"layer '{layer.name}': bbox_reg_param needs four bbox_mean and four positive bbox_std"
        )
    return mean, std


def check_classes(layer: Layer, bottom: int, found: np.ndarray, classes: int | None = None) -> None:
    """DataError where a class of `found`, which that bottom holds, is none of 0 to classes - 1; None: has no end."""
    wrong = found[(found < 0) | (found >= classes if classes is not None else False)]
    if wrong.size:
        wanted = "0 or more" if classes is None else f"0 to {classes - 1}"
        raise DataError(
            f"layer '{layer.name}': bottom '{layer.param.bottom[bottom]}' holds class {int(wrong[0])}, wanted {wanted}"
        )


def as_sizes(boxes: np.ndarray) -> np.ndarray:
    """x, y, width, height of boxes (K, 4) x1, y1, x2, y2, both ends counted."""
    return np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2] + 1), 1)


def overlaps_by_size(box: np.ndarray, boxes: np.ndarray, mode: str = "IOU") -> np.ndarray:
    """Shared area of `box` with each of `boxes` (K, 4), all x, y, width, height, as a share of something (BoxIOU).

    IOU: of the union; IOMU: of the smaller of the two; IOFU: of `box`. A box without area shares nothing.
    """
    ends = np.minimum(box[:2] + box[2:], boxes[:, :2] + boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    solid = (boxes[:, 2:] > 0).all(1) & bool((box[2:] > 0).all())
    shared = np.where((ends > 0).all(1) & solid, ends.prod(1), 0)
    size, sizes = box[2:].prod(), boxes[:, 2:].prod(1)
    whole = {"IOMU": np.minimum(size, sizes), "IOFU": np.full_like(sizes, size)}.get(mode, size + sizes - shared)
    shares: np.ndarray = shared / np.where(shared > 0, whole, 1)
    return shares


def places(height: int, width: int, rate: float) -> np.ndarray:
    """The middle of every place of a map in pixels of the image: float64 (2, height, width), x then y."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack((columns + 0.5, rows + 0.5)) * rate


def predicted_boxes(head: np.ndarray, field: Any, size: tuple[float, float], rate: float) -> np.ndarray:
    """Boxes (N, 4, H, W), x, y of the corner, width, height in pixels, of a head's coordinates in natural units."""
    shift = head[:, :2].clip(-1 / field.field_xyr, 1 / field.field_xyr)
    logs = head[:, 2:4].clip(-math.log(field.field_whr), math.log(field.field_whr))
    scale = np.array(size)[:, None, None]
    extent = np.exp(logs) * scale
    centre = shift * scale + places(head.shape[2], head.shape[3], rate)
    return np.concatenate((centre - extent / 2, extent), 1)


class Head(Layer):
    """What loss and accuracy of a head share: bottom 0 the head, bottom 1 its label map."""

    bottoms = exactly(2)

    def check_head(self, bottom_shapes: list[Shape], classes: int) -> None:
        head, label = bottom_shapes
        wanted = ((head[0], classes + COORDINATES, *head[2:]), (head[0], COORDINATES + 2, *head[2:]))
        if len(head) != 4 or (head, label) != wanted:
            raise ShapeError(
                f"layer '{self.name}': bottoms have shapes {head} and {label}, wanted {wanted[0]} and {wanted[1]}"
            )
