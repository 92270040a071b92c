"""PredictBox (predict_box_layer.cpp of happynear/caffe-windows): boxes of a fully convolutional face detector."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Context, Count, Layer, Shape
from caffe_compat.layers.registry import register

_CELL = 12  # the side of the window that the network was trained on, and the default of receptive_field


@register("PredictBox")
class PredictBox(Layer):
    """Top 0 (N, 5, H, W): x, y, width, height and score of the box at each place with a score above positive_thresh.

    Bottoms: scores (N, 2, H, W), of which the second channel counts; offsets (N, 4, H, W), by exp with bbreg_exp, else
    of (y1, x1, y2, x2); and either maxima (N, 2, H, W), below which a score counts for nothing, or the origin and size
    (N, 3, H, W) of the picture's copy that a place belongs to, 0 for none. Other places are zeros. Top 1: the boxes
    column by column, (1, boxes, 5), of one item; else a row of zeros an item. No gradient.

    Offsets first and then scores (N, 2, H, W) is the form of 2016 (predict_box_layer.cpp of TuringKi/caffe-windows).
    """

    gradient = "none"
    bottoms = Count(1, 3)
    tops = Count(1, 2)
    works_in_place = False

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.predict_box_param
        self.stride: int = field.stride
        self.field: int = field.receptive_field
        self.least: float = field.positive_thresh
        self.by_exp: bool = field.bbreg_exp

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        channels = [shape[1] if len(shape) == 4 else 0 for shape in bottom_shapes]
        plane = {(shape[0], *shape[2:]) for shape in bottom_shapes}
        if channels not in ([2], [2, 4], [2, 4, 2], [2, 4, 3], [4, 2]) or len(plane) > 1:
            shown = " and ".join(map(str, bottom_shapes))
            raise ShapeError(
                f"layer '{self.name}': bottoms have shapes {shown}, wanted scores (N, 2, H, W), offsets (N, 4, H, W) "
                "and maxima (N, 2, H, W) or origins (N, 3, H, W), of one N, H and W"
            )
        number, _, *size = bottom_shapes[0]
        return [(number, 5, *size), (number, 1, 5)][: len(self.param.top)]

    @torch.no_grad()
    def forward(self, *bottoms: Tensor) -> Tensor | tuple[Tensor, ...]:
        is_old = bottoms[0].shape[1] == 4
        scores, offsets = (bottoms[1], bottoms[0]) if is_old else (*bottoms, None)[:2]
        assert scores is not None
        score = scores[:, 1]
        found, boxes = score > self.least, self._places(score)
        if len(bottoms) == 3 and bottoms[2].shape[1] == 2:
            found &= score.double() > bottoms[2][:, 1].double() - 1e-5
        if len(bottoms) == 3 and bottoms[2].shape[1] == 3:
            x, y, size = bottoms[2].unbind(1)
            found &= size != 0
            boxes = torch.stack(((boxes[:, 0] - x) / _CELL * size, (boxes[:, 1] - y) / _CELL * size, size, size), 1)
        elif not is_old:
            boxes[:, :2] = boxes[:, :2] / _CELL * self.field
        if offsets is not None:
            boxes = self._moved(boxes, offsets, self.by_exp or is_old)
        boxes = torch.where(found[:, None], torch.cat((boxes, scores[:, 1:]), 1), 0)
        if len(self.param.top) == 1:
            return boxes
        if len(boxes) != 1 or not found.any():
            return boxes, boxes.new_zeros(len(boxes), 1, 5)
        return boxes, boxes[0].permute(2, 1, 0)[found[0].mT][None]

    def _places(self, score: Tensor) -> Tensor:
        """(N, 4, H, W): x and y of every place in pixels of the bottom's picture, and the receptive field twice."""
        number, rows, columns = score.shape
        boxes = score.new_full((number, 4, rows, columns), self.field)
        boxes[:, 0] = torch.arange(columns).to(score) * self.stride
        boxes[:, 1] = (torch.arange(rows).to(score) * self.stride)[:, None]
        return boxes

    @staticmethod
    def _moved(boxes: Tensor, offsets: Tensor, by_exp: bool) -> Tensor:
        sizes = boxes[:, 2:]
        if by_exp:
            return torch.cat((boxes[:, :2] + offsets[:, :2] * sizes, sizes * offsets[:, 2:].exp()), 1)
        top, left, bottom, right = offsets.unbind(1)
        shifts = torch.stack((left, top, right - left, bottom - top), 1)
        return boxes + shifts * sizes[:, :1]
