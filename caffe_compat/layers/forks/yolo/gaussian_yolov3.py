"""GaussianYolov3 (gaussian_yolov3_layer.cpp of eric612/MobileNet-YOLO), built for its shapes."""

from __future__ import annotations

from caffe_compat.layers.base import Count
from caffe_compat.layers.loss import LossLayer
from caffe_compat.layers.registry import register
from caffe_compat.layers.shapes_only import ShapesOnly


@register("GaussianYolov3")
class GaussianYolov3(ShapesOnly, LossLayer):
    """The loss of YOLO version 3 with an uncertainty for each coordinate (eric612/MobileNet-YOLO)."""

    bottoms = Count(2)
    reason = "its loss is not implemented"
