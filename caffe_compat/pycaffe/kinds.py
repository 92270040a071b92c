"""Which step runs a layer: those whose passes are not just values and gradients have one of their own."""

from __future__ import annotations

from collections.abc import Mapping

from caffe_compat.graph.graph import Node
from caffe_compat.graph.sharing import shares_diff
from caffe_compat.pycaffe.filtering import FilterStep
from caffe_compat.pycaffe.power import PowerStep
from caffe_compat.pycaffe.rectifying import RectifierStep
from caffe_compat.pycaffe.scratch import HingeStep, ScaleStep
from caffe_compat.pycaffe.sharing import FlattenStep, ParameterStep, RecurrentStep, ReshapeStep, SplitStep
from caffe_compat.pycaffe.steps import Step

_KINDS: Mapping[str, type[Step]] = {
    "Filter": FilterStep, "Flatten": FlattenStep, "HingeLoss": HingeStep, "LSTM": RecurrentStep,
    "Parameter": ParameterStep, "RNN": RecurrentStep, "ReLU": RectifierStep, "Scale": ScaleStep, "Split": SplitStep,
}  # fmt: skip


def step_kind(node: Node) -> type[Step]:
    """The class of the step of a layer with bottoms, whose passes no other layer in place disturbs."""
    power = node.param.power_param
    if node.param.type == "Power" and power.power not in (1, 2) and power.power * power.scale:
        return PowerStep
    alone = shares_diff(node) and node.param.type != "Flatten"
    return ReshapeStep if alone else _KINDS.get(node.param.type, Step)
