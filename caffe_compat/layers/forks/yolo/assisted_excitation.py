"""AssistedExcitation (assisted_excitation_layer.cpp of eric612/MobileNet-YOLO), built for its shapes."""

from __future__ import annotations

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Shape, exactly
from caffe_compat.layers.registry import register
from caffe_compat.layers.shapes_only import ShapesOnly


@register("AssistedExcitation")
class AssistedExcitation(ShapesOnly):
    """A bottom raised inside true boxes, less and less as training goes on (eric612/MobileNet-YOLO)."""

    bottoms = exactly(3)
    reason = "it depends on how far the solver has come"

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        if bottom_shapes[0][2:] != bottom_shapes[2][-2:]:
            raise ShapeError(f"layer '{self.name}': bottoms {bottom_shapes} differ in height and width")
        return [bottom_shapes[0]]
