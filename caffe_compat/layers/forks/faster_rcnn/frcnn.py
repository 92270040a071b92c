"""FrcnnProposal, FrcnnAnchorTarget, FrcnnProposalTarget (frcnn_proposal_layer.cpp and so on of makefile/frcnn).

They are built for their shapes.
"""

from __future__ import annotations

from caffe_compat.errors import ShapeError
from caffe_compat.layers.base import Count, Shape, exactly
from caffe_compat.layers.registry import register
from caffe_compat.layers.shapes_only import ShapesOnly


class _OfConfig(ShapesOnly):
    """A layer of makefile/frcnn, whose anchors, classes and thresholds stand in a file that its data layer names."""

    reason = "its settings are in the JSON file that FrcnnRoiData names"


@register("FrcnnProposal")
class FrcnnProposal(_OfConfig):
    """Regions (1, 5, 1, 1) and, if asked for, their scores (1, 1, 1, 1) (frcnn_proposal_layer.cpp)."""

    bottoms = Count(3)
    tops = Count(1, 2)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shapes: list[Shape] = [(1, 5, 1, 1), (1, 1, 1, 1)]
        return shapes[: max(1, len(self.param.top))]


@register("FrcnnAnchorTarget")
class FrcnnAnchorTarget(_OfConfig):
    """As AnchorTargetLayer, half the channels of bottom 0 for the anchors (frcnn_anchor_target_layer.cpp)."""

    bottoms = Count(3)
    tops = exactly(4)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        scores = bottom_shapes[0]
        if len(scores) != 4 or scores[1] < 2 or scores[1] % 2:
            raise ShapeError(f"layer '{self.name}': bottom {scores}, wanted (1, 2 * anchors, H, W)")
        number, (height, width) = scores[1] // 2, scores[2:]
        return [(1, 1, number * height, width), *[(1, 4 * number, height, width)] * 3]


@register("FrcnnProposalTarget")
class FrcnnProposalTarget(_OfConfig):
    """As ProposalTargetLayer, for the 21 classes of the fork's VOC settings (frcnn_proposal_target_layer.cpp)."""

    bottoms = Count(2)
    tops = exactly(5)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return [(1, 5, 1, 1), (1, 1, 1, 1), *[(1, 84, 1, 1)] * 3]
