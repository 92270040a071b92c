"""Layers that are built, so that the net around them can be read and shown, but do not run here."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from caffe_compat.errors import UnsupportedLayerError
from caffe_compat.layers.base import Layer


class ShapesOnly(Layer):
    """A layer whose tops have known shapes and whose values are not computed: `reason` says why."""

    gradient = "none"
    reason: ClassVar[str]

    @classmethod
    def shortcoming(cls, param: Any) -> str:
        return f"type {param.type} is built for its shapes and does not run: {cls.reason}"

    def forward(self, *bottoms: Tensor) -> Any:
        raise UnsupportedLayerError(f"layer '{self.name}': {self.shortcoming(self.param)}")
