"""ReorgYolo (reorg_yolo_layer.cpp of openvinotoolkit/training_toolbox_caffe): Darknet's reorg."""

from __future__ import annotations

from typing import Any

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.base import Context, Layer
from caffe_compat.layers.forks.yolo.reorg import Reorg
from caffe_compat.layers.registry import register


@register("ReorgYolo")
class ReorgYolo(Reorg):
    """As Reorg without `reverse`, under reorg_yolo_param.stride, by default 1; the fork has no Backward."""

    works_in_place = False

    def __init__(self, param: Any, context: Context) -> None:
        Layer.__init__(self, param, context)
        self.stride: int = param.reorg_yolo_param.stride
        self.reverse = False
        if self.stride < 1:
            raise UnsupportedParameterError(
                f"layer '{self.name}': reorg_yolo_param.stride is {self.stride}; it must be positive"
            )
