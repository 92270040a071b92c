"""PriorBox of SSD (prior_box_layer.cpp of weiliu89/caffe, branch ssd; its dense form from FaceBoxes).

Boxes are (xmin, ymin, xmax, ymax) in fractions of the image.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer, Shape, exactly
from caffe_compat.layers.registry import register
from caffe_compat.proto.dialects import FACEBOXES_SIZES


@register("PriorBox")
class PriorBox(Layer):
    """The default boxes around every place of bottom 0, for an image of the size of bottom 1.

    Top (1, 2, H * W * priors * 4): the boxes, then their variances. At each place, for each min_size: the square of
    that size, the square of size sqrt(min_size * max_size) if there are max_sizes, and one box for each further aspect
    ratio.

    min_size 32, 64 and 128 and nothing else: FaceBoxes' dense boxes (prior_box_layer.cpp of sfzhang15/FaceBoxes), 16 of
    32, 4 of 64 and one of 128 around each place, each a pixel smaller. In a net that has such a layer every square of a
    min_size is a pixel smaller.
    """

    gradient = "none"
    bottoms = exactly(2)

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.prior_box_param
        self.clip: bool = field.clip
        self.offset: float = field.offset
        self.variances: tuple[float, ...] = tuple(field.variance) or (0.1,)
        self.image = _pair(field, "img_h", "img_w", "img_size")
        self.step = _pair(field, "step_h", "step_w", "step")
        self.short = 1 if context.fork == "faceboxes" else 0
        self.sizes, self.shifts = self._sizes_and_shifts(field)
        self._check_variances()
        self._made: tuple[Any, Tensor] | None = None

    def _sizes_and_shifts(self, field: Any) -> tuple[np.ndarray, np.ndarray]:
        """Width and height of every prior of one place, and how far its middle lies from it: pixels, (priors, 2)."""
        self.min_sizes, self.max_sizes = tuple(field.min_size), tuple(field.max_size)
        self._check_sizes()
        ratios = _aspect_ratios(field)
        if self.min_sizes == FACEBOXES_SIZES and not self.max_sizes and not ratios:
            return _dense_sizes(), _dense_shifts()
        sizes = self._sizes(ratios)
        return sizes, np.zeros_like(sizes)

    def _check_sizes(self) -> None:
        sizes_fit = self.min_sizes and min(self.min_sizes) > 0 and len(self.max_sizes) in (0, len(self.min_sizes))
        if not sizes_fit or any(large <= small for small, large in zip(self.min_sizes, self.max_sizes, strict=False)):
            raise UnsupportedParameterError(
                f"layer '{self.name}': prior_box_param.min_size {list(self.min_sizes)} and max_size "
                f"{list(self.max_sizes)}: give positive min_sizes, and no max_size or a larger one for each"
            )

    def _check_variances(self) -> None:
        if len(self.variances) not in (1, 4) or min(self.variances) <= 0:
            raise UnsupportedParameterError(
                f"layer '{self.name}': prior_box_param.variance {list(self.variances)} must be one or four positive "
                "numbers"
            )

    def _sizes(self, ratios: list[float]) -> np.ndarray:
        """Width and height of every prior of one place, in pixels, float32 (priors, 2)."""
        sizes: list[tuple[float, float]] = []
        for index, min_size in enumerate(map(int, self.min_sizes)):
            sizes.append((min_size - self.short,) * 2)
            if self.max_sizes:
                sizes.append((math.sqrt(min_size * int(self.max_sizes[index])),) * 2)
            sizes += [(min_size * math.sqrt(ratio), min_size / math.sqrt(ratio)) for ratio in ratios]
        return np.array(sizes, np.float32)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        layer, image = bottom_shapes
        if len(layer) != 4 or len(image) != 4:
            raise ShapeError(
                f"layer '{self.name}': bottoms have shapes {layer} and {image}, wanted (N, C, H, W) for both"
            )
        return [(1, 2, layer[2] * layer[3] * self.sizes.size * 2)]

    def forward(self, *bottoms: Tensor) -> Tensor:
        layer, image = bottoms
        made_for = (layer.shape[2:], image.shape[2:], layer.dtype, layer.device)
        made = self._made  # another thread may make others meanwhile
        if made is None or made[0] != made_for:
            made = self._made = made_for, torch.from_numpy(self._boxes(layer, image)).to(layer)
        return made[1]

    def _boxes(self, layer: Tensor, image: Tensor) -> np.ndarray:
        height, width = self.image or tuple(image.shape[2:])
        rows, columns = layer.shape[2:]
        step_h, step_w = self.step or (np.float32(height) / np.float32(rows), np.float32(width) / np.float32(columns))
        boxes = np.empty((rows, columns, len(self.sizes), 4), np.float32)
        y = ((np.arange(rows, dtype=np.float32) + np.float32(self.offset)) * np.float32(step_h))[:, None, None]
        x = ((np.arange(columns, dtype=np.float32) + np.float32(self.offset)) * np.float32(step_w))[None, :, None]
        half_width, half_height = (self.sizes.astype(np.float64) / 2).T
        x, y = x + self.shifts[:, 0], y + self.shifts[:, 1]
        boxes[..., 0], boxes[..., 2] = (x - half_width) / width, (x + half_width) / width
        boxes[..., 1], boxes[..., 3] = (y - half_height) / height, (y + half_height) / height
        if self.clip:
            boxes = boxes.clip(0, 1)
        variances = np.broadcast_to(np.array(self.variances, np.float32), boxes.shape)
        return np.stack((boxes.reshape(-1), variances.reshape(-1)))[None]


_DENSE_STEPS = ((32, 8, range(-2, 2)), (64, 16, range(-1, 1)), (128, 0, range(1)))  # size, pixels a step, steps


def _dense_shifts() -> np.ndarray:
    """How far the middle of each of FaceBoxes' boxes lies from its place, x and y in pixels: float32 (21, 2)."""
    return np.array([(j * step, i * step) for _, step, steps in _DENSE_STEPS for i in steps for j in steps], np.float32)


def _dense_sizes() -> np.ndarray:
    """Width and height of each of FaceBoxes' boxes, which count both ends: float32 (21, 2)."""
    return np.array([(size - 1,) * 2 for size, _, steps in _DENSE_STEPS for _ in range(len(steps) ** 2)], np.float32)


def _aspect_ratios(field: Any) -> list[float]:
    """Every ratio but 1, in order, each followed by its inverse if `flip`; none twice."""
    ratios = [1.0]
    for ratio in field.aspect_ratio:
        if all(abs(ratio - known) >= 1e-6 for known in ratios):
            ratios += [ratio, 1 / ratio] if field.flip else [ratio]
    return [ratio for ratio in ratios if abs(ratio - 1) >= 1e-6]


def _pair(field: Any, first: str, second: str, both: str) -> tuple[Any, Any] | None:
    """Two fields, or twice the one that stands for both; None where none is given or one of them is 0."""
    pair = (getattr(field, first), getattr(field, second)) if field.HasField(first) or field.HasField(second) else None
    pair = pair or (getattr(field, both),) * 2
    return pair if all(pair) else None
