"""Which nets may be run twice: forward and backward passes that change nothing but blobs, and give the same again."""

from __future__ import annotations

from collections.abc import Sequence

from caffe_compat.net.net import Net
from caffe_compat.pycaffe.rectifying import RectifierStep
from caffe_compat.pycaffe.scratch import ScaleStep
from caffe_compat.pycaffe.sharing import FlattenStep, ReshapeStep, SplitStep
from caffe_compat.pycaffe.sources import DummyStep, MemoryStep, SourceStep
from caffe_compat.pycaffe.steps import Step

_STEPS = (Step, RectifierStep, ScaleStep, FlattenStep, ReshapeStep, SplitStep, SourceStep, DummyStep, MemoryStep)
_TYPES = frozenset(
    {
        "AbsVal", "Accuracy", "ArgMax", "BNLL", "BatchNorm", "Bias", "Concat", "Convolution", "Crop", "Data",
        "Deconvolution", "Dropout", "DummyData", "ELU", "Eltwise", "Embed", "EuclideanLoss", "Exp", "Flatten",
        "HDF5Data", "ImageData", "InnerProduct", "Input", "LRN", "Log", "MVN", "MemoryData", "PReLU", "Pooling",
        "Power", "ReLU", "Reduction", "Reshape", "Scale", "Sigmoid", "SigmoidCrossEntropyLoss", "Silence", "Slice",
        "Softmax", "SoftmaxWithLoss", "Split", "TanH", "Threshold", "Tile",
    }
)  # fmt: skip


def repeats(net: Net, steps: Sequence[Step], outputs: Sequence[object]) -> bool:
    """Whether each layer of a net is known to, none disturbs another in place, and every loss is an output."""
    tops = {id(top._data) for step in steps if isinstance(step, SourceStep) for top in step.tops}
    shared = {id(param.tensor) for param in net.learnable_params if len(param.users) > 1}
    return not net.hazards.by_number and all(_repeats(step, tops, outputs, shared) for step in steps)


def draws(steps: Sequence[Step]) -> bool:
    """Whether a forward pass draws random numbers, those of data layers apart."""
    return any(step.type in ("Dropout", "Pooling") for step in steps)


def _repeats(step: Step, of_sources: set[int], outputs: Sequence[object], shared: set[int]) -> bool:
    losses = [top for top, weight in zip(step.tops, step.loss_weights, strict=True) if weight]
    in_place_on_inputs = not isinstance(step, SourceStep) and any(
        id(top._data) in of_sources and top in step.bottoms for top in step.tops
    )
    learn = [each.requires_grad for each in step.parameters] == step.learning
    overwrites = isinstance(step, ScaleStep) and any(id(each) in shared for each in step.parameters[:1])
    return (
        type(step) in _STEPS
        and step.type in _TYPES
        and not step._refusal
        and learn
        and not overwrites
        and not in_place_on_inputs
        and all(any(loss is output for output in outputs) for loss in losses)
    )
