"""LaneData (lane_data_layer.cpp of eric612/MobileNet-YOLO), whose files are not read here."""

from __future__ import annotations

from caffe_compat.layers.base import Shape
from caffe_compat.layers.forks.ssd.annotated_data import AnnotatedData
from caffe_compat.layers.registry import register


@register("LaneData")
class LaneData(AnnotatedData):
    """MobileNet-YOLO's images with lanes: up to 5 lanes of 64 nodes (x, y, class) an item, and segment labels."""

    segments = 1

    def labels(self, images: Shape) -> list[Shape]:
        return [(images[0], 5, 64, 3), super().labels(images)[1]]
