"""Layers of forks that are built, so that the net around them can be read and shown, but do not run here."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedLayerError
from caffe_compat.layers.base import Count, Layer, Shape, exactly
from caffe_compat.layers.loss import LossLayer
from caffe_compat.layers.registry import register


class ShapesOnly(Layer):
    """A layer whose tops have known shapes and whose values are not computed: `reason` says why."""

    reason: ClassVar[str]

    @classmethod
    def shortcoming(cls, param: Any) -> str:
        return f"type {param.type} is built for its shapes and does not run: {cls.reason}"

    def forward(self, *bottoms: Tensor) -> Any:
        raise UnsupportedLayerError(f"layer '{self.name}': {self.shortcoming(self.param)}")


@register("AssistedExcitation")
class AssistedExcitation(ShapesOnly):
    """A bottom raised inside true boxes, less and less as training goes on (eric612/MobileNet-YOLO)."""

    bottoms = exactly(3)
    reason = "it depends on how far the solver has come"

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        if bottom_shapes[0][2:] != bottom_shapes[2][-2:]:
            raise ShapeError(f"layer '{self.name}': bottoms {bottom_shapes} differ in height and width")
        return [bottom_shapes[0]]


@register("HashingLoss")
class HashingLoss(ShapesOnly, LossLayer):
    """The loss of pairs drawn from a batch by their labels in common (leetonfreestyle/DMSH)."""

    reason = "its fork leaves out pairs by random numbers of its own"


@register("GaussianYolov3")
class GaussianYolov3(ShapesOnly, LossLayer):
    """The loss of YOLO version 3 with an uncertainty for each coordinate (eric612/MobileNet-YOLO)."""

    bottoms = Count(2)
    reason = "its loss is not implemented"
