"""RegionYolo (region_yolo_layer.cpp of openvinotoolkit/training_toolbox_caffe; regionyolo.py of OpenVINO's reader)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer, Shape
from caffe_compat.layers.registry import register


@register("RegionYolo")
class RegionYolo(Layer):
    """YOLO's activations: of each of `num` boxes a place, (coords, 1, classes) channels of (N, C, H, W).

    With do_softmax (YOLO version 2, the default): the logistic function of the first two coords and of the one after
    them, softmax over the classes; the axes from flatten_param.axis to end_axis become one, by default all but the
    first. Without (version 3, which only OpenVINO's reader knows): the logistic function of the first two coords and
    of the one after them and of every class; `mask` says how many boxes there are, and the top has the shape of the
    bottom. anchors are for whoever decodes the boxes. The gradient is the derivative; the fork has none.
    """

    works_in_place = False

    def __init__(self, param: Any, context: Context) -> None:
        super().__init__(param, context)
        field = param.region_yolo_param
        self.coords, self.classes = field.coords, field.classes
        self.do_softmax: bool = field.do_softmax
        self.boxes: int = field.num if self.do_softmax or not field.mask else len(field.mask)
        self.axes: tuple[int, int] = (param.flatten_param.axis, param.flatten_param.end_axis)
        if self.coords < 2 or self.classes < 1 or self.boxes < 1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': region_yolo_param needs coords of 2 or more, classes and num of 1 or more; "
                f"found {self.coords}, {self.classes} and {self.boxes}"
            )

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shape, channels = bottom_shapes[0], self.boxes * (self.coords + 1 + self.classes)
        if len(shape) != 4 or shape[1] != channels:
            raise ShapeError(
                f"layer '{self.name}': a bottom of shape {shape} is not (N, {channels}, H, W): {self.boxes} boxes of "
                f"{self.coords} coords, 1 and {self.classes} classes"
            )
        if not self.do_softmax:
            return [shape]
        first = self.canonical_axis(self.axes[0], shape, "flatten_param.axis")
        last = self.canonical_axis(self.axes[1], shape, "flatten_param.end_axis")
        if first > last:
            raise ShapeError(f"layer '{self.name}': flatten_param.axis {first} comes after end_axis {last}")
        return [(*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])]

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        parts = [2, self.coords - 2, 1, self.classes]
        boxes = x.reshape(x.shape[0], self.boxes, sum(parts), *x.shape[2:])
        places, sizes, certain, classes = torch.split(boxes, parts, 2)
        classes = classes.softmax(2) if self.do_softmax else classes.sigmoid()
        top = torch.cat((places.sigmoid(), sizes, certain.sigmoid(), classes), 2)
        return top.reshape(self.top_shapes([tuple(x.shape)])[0])
