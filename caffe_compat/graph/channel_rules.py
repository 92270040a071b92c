"""What each layer type does to the channels (axis 1) of its bottoms; a type not listed here leaves them alone.

Source: the layers of Caffe 1.0 (src/caffe/layers at 9b89154).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from caffe_compat.graph.blob_shapes import KnownShape, axis_of, fork_setting, joined_axis, product, slice_bounds
from caffe_compat.graph.coupling import Coupling, Labels, couple_each_group, couple_groups, repeated
from caffe_compat.graph.wiring import Node

Known = list[Labels | None]
ShapesOf = list[KnownShape | None]
Rule = Callable[[Coupling, Node, Known, ShapesOf, ShapesOf], Known]

PASSING = frozenset(
    {
        "AbsVal", "BNLL", "Clip", "Dropout", "ELU", "Exp", "Log", "Pooling", "Power", "ReLU", "Sigmoid", "Split",
        "ReLU6", "Swish", "TanH", "Threshold", "BatchReindex", "HardSigmoid", "InstanceNorm", "Relu6", "Softplus",
    }
)  # fmt: skip
"""Types that treat every channel alike and by itself, and have no blobs."""
_ALWAYS_PASSING = frozenset({"Dropout", "Pooling"})  # whatever fields forks give them


def follow(coupling: Coupling, node: Node, bottoms: Known, bottom_shapes: ShapesOf, top_shapes: ShapesOf) -> Known:
    """The labels of the tops of `node`, for those of its bottoms; None for a blob whose channels are not followed."""
    kind = node.param.type
    if not node.bottoms:
        return _source(coupling, node, top_shapes)
    rule = RULES.get(kind)
    if rule is None and kind not in PASSING:
        return _left_alone(coupling, node, bottoms, _READS.get(kind, "may do anything with its channels"))
    foreign = "" if kind in _ALWAYS_PASSING else fork_setting(node.param)
    if foreign:
        return _left_alone(coupling, node, bottoms, f"has {foreign}, which a fork of Caffe defines")
    return rule(coupling, node, bottoms, bottom_shapes, top_shapes) if rule else [bottoms[0]] * len(node.tops)


def _left_alone(coupling: Coupling, node: Node, bottoms: Known, what: str) -> Known:
    for labels in bottoms:
        coupling.fix(labels, f"layer '{node.name}' ({node.param.type}) {what}")
    coupling.close(node.param)
    return [None] * len(node.tops)


def _source(coupling: Coupling, node: Node, top_shapes: ShapesOf) -> Known:
    made: Known = []
    for top, shape in zip(node.tops, top_shapes, strict=True):
        size = shape[1] if shape is not None and len(shape) > 1 else None
        made.append(None if size is None else coupling.fresh(size))
        coupling.fix(made[-1], f"blob '{top.name}' comes from layer '{node.name}' ({node.param.type})")
    coupling.close(node.param)
    return made


def _convolution(coupling: Coupling, node: Node, bottoms: Known, before: ShapesOf, after: ShapesOf) -> Known:
    fields = node.param.convolution_param
    shape = before[0]
    if (axis_of(fields.axis, shape) if shape is not None else fields.axis) != 1:
        return _left_alone(coupling, node, bottoms, "has its channels on another axis than 1")
    return [_convolved(coupling, node, labels) for labels in bottoms[: len(node.tops)]]


def _convolved(coupling: Coupling, node: Node, labels: Labels | None) -> Labels | None:
    """The tops of one bottom; blob 0 is (outputs, inputs / group, ...), a Deconvolution's (inputs, outputs / group)."""
    param, fields = node.param, node.param.convolution_param
    each_alone = param.type == "ConvolutionDepthwise"
    transposed = param.type == "Deconvolution"
    channels = None if labels is None else labels.size
    groups = channels if each_alone else fields.group
    outputs = channels if each_alone else fields.num_output
    role = "producer"
    out_axis, in_axis = (1, 0) if transposed else (0, 1)
    if groups is None or outputs is None or not groups or outputs % groups or (channels or 0) % groups:
        return _left_alone(coupling, node, [labels], "has groups that its channels do not show")[0]
    if groups == 1:
        top = coupling.fresh(outputs)
        coupling.lie("producer", param, 0, out_axis, top)
        coupling.lie("consumer", param, 0, in_axis, labels)
    elif labels is None:
        top = coupling.fresh(outputs)
        coupling.lie("producer", param, 0, out_axis, top[: outputs // groups] if transposed else top)
        coupling.fix(top, f"layer '{node.name}' has {groups} groups of channels that are not followed")
    elif groups == channels or param.name in coupling.whole_groups:
        role = "follower"
        if groups != channels:
            couple_each_group(coupling, labels, groups)
        top = repeated(labels[:: labels.size // groups], outputs // groups)
        coupling.lie("follower", param, 0, 0, labels if transposed else top)
    else:
        top = coupling.fresh(outputs)
        first_outputs, first_inputs = couple_groups(coupling, top, groups), couple_groups(coupling, labels, groups)
        coupling.lie("producer", param, 0, out_axis, first_outputs if transposed else top)
        coupling.lie("consumer", param, 0, in_axis, labels if transposed else first_inputs)
    if fields.bias_term:
        coupling.lie(role, param, 1, 0, top)
    return top


def _inner_product(coupling: Coupling, node: Node, bottoms: Known, before: ShapesOf, after: ShapesOf) -> Known:
    """Blob 0 is (outputs, inputs), or (inputs, outputs) with transpose; the inputs are all axes from `axis` on."""
    param, fields, shape = node.param, node.param.inner_product_param, before[0]
    labels = bottoms[0]
    axis = fields.axis if shape is None else axis_of(fields.axis, shape)
    out_axis, in_axis = (1, 0) if fields.transpose else (0, 1)
    if axis < 0 or axis == 0:
        return _left_alone(coupling, node, bottoms, "sums over an axis before the channels, or one that is not known")
    if axis > 1:
        coupling.close(param)
        return [labels]
    inputs = None
    if labels is not None:
        times = None if shape is None else product(shape[2:])
        inputs = None if times is None else repeated(labels, times)
        if inputs is None:
            reason = f"layer '{node.name}' flattens blob '{node.bottoms[0].name}', whose height and width are not known"
            coupling.fix(labels, reason)
    top = coupling.fresh(fields.num_output)
    coupling.lie("producer", param, 0, out_axis, top)
    coupling.lie("consumer", param, 0, in_axis, inputs)
    if fields.bias_term:
        coupling.lie("producer", param, 1, 0, top)
    return [top]


def _embed(coupling: Coupling, node: Node, bottoms: Known, before: ShapesOf, after: ShapesOf) -> Known:
    if before[0] is None or len(before[0]) != 1:
        return _left_alone(coupling, node, bottoms, "makes another axis than 1")
    top = coupling.fresh(node.param.embed_param.num_output)
    coupling.lie("producer", node.param, 0, 1, top)
    if node.param.embed_param.bias_term:
        coupling.lie("producer", node.param, 1, 0, top)
    return [top]


def _batch_norm(coupling: Coupling, node: Node, bottoms: Known, before: ShapesOf, after: ShapesOf) -> Known:
    for blob in (0, 1):
        coupling.lie("follower", node.param, blob, 0, bottoms[0])
    return [bottoms[0]]


def _prelu(coupling: Coupling, node: Node, bottoms: Known, before: ShapesOf, after: ShapesOf) -> Known:
    coupling.lie("follower", node.param, 0, 0, None if node.param.prelu_param.channel_shared else bottoms[0])
    return [bottoms[0]]


def _scale(coupling: Coupling, node: Node, bottoms: Known, before: ShapesOf, after: ShapesOf) -> Known:
    """Scale and Bias: the factor (a blob, or the second bottom) has the axes of the first bottom from `axis` on."""
    param, labels, shape = node.param, bottoms[0], before[0]
    fields = param.scale_param if param.type == "Scale" else param.bias_param
    if fields.axis < 0 and shape is None:
        return _left_alone(coupling, node, bottoms, "counts its axis from the end of a blob whose axes are not known")
    axis = fields.axis if shape is None else axis_of(fields.axis, shape)
    at = 1 - axis  # the axis of the factor that has the channels
    second = bottoms[1] if len(bottoms) > 1 else None
    if len(bottoms) == 1:
        inside = at >= 0 and (fields.num_axes == -1 or at < fields.num_axes)
        channels = labels if inside else None
    else:
        few = before[1] is not None and len(before[1]) <= max(at, 0)
        channels = None
        if at == 1 and not few:
            reason = f"layer '{node.name}' joins it with a blob whose channels are not followed"
            labels = channels = coupling.agree([labels, second], reason)
        elif not few and at == 0:
            for each in (labels, second):
                coupling.fix(each, f"layer '{node.name}' takes blob '{node.bottoms[1].name}' for its channels")
        else:
            coupling.fix(second, f"layer '{node.name}' takes it along another axis than its channels")
    blobs = int(len(bottoms) == 1) + int(param.type == "Scale" and fields.bias_term)
    for blob in range(blobs):
        coupling.lie("follower", param, blob, max(at, 0), channels)
    return [labels]


def _eltwise(coupling: Coupling, node: Node, bottoms: Known, before: ShapesOf, after: ShapesOf) -> Known:
    return [coupling.agree(bottoms, f"layer '{node.name}' joins it with a blob whose channels are not followed")]


def _concat(coupling: Coupling, node: Node, bottoms: Known, before: ShapesOf, after: ShapesOf) -> Known:
    fields = node.param.concat_param
    if before[0] is None and fields.axis < 0:
        return _left_alone(coupling, node, bottoms, "counts its axis from the end of a blob whose axes are not known")
    if joined_axis(fields, "concat_dim", before[0] or ()) != 1:
        return _eltwise(coupling, node, bottoms, before, after)
    known = [labels for labels in bottoms if labels is not None]
    if len(known) < len(bottoms):
        return _left_alone(coupling, node, bottoms, "joins it with a blob whose channels are not followed")
    return [np.concatenate(known)]


def _slice(coupling: Coupling, node: Node, bottoms: Known, before: ShapesOf, after: ShapesOf) -> Known:
    fields, labels = node.param.slice_param, bottoms[0]
    if before[0] is None and fields.axis < 0:
        return _left_alone(coupling, node, bottoms, "counts its axis from the end of a blob whose axes are not known")
    if joined_axis(fields, "slice_dim", before[0] or ()) != 1:
        return [labels] * len(node.tops)
    bounds = None if labels is None else slice_bounds(list(fields.slice_point), labels.size, len(node.tops))
    if labels is None or bounds is None:
        return _left_alone(coupling, node, bottoms, "cuts channels that are not followed")
    return [labels[bounds[k] : bounds[k + 1]] for k in range(len(node.tops))]


def _flatten(coupling: Coupling, node: Node, bottoms: Known, before: ShapesOf, after: ShapesOf) -> Known:
    fields, shape, labels = node.param.flatten_param, before[0], bottoms[0]
    start = fields.axis if shape is None else axis_of(fields.axis, shape)
    if start > 1:
        return [labels]
    times = None if shape is None else product(shape[2 : axis_of(fields.end_axis, shape) + 1])
    if start != 1 or times is None:
        return _left_alone(coupling, node, bottoms, "flattens a blob whose height and width are not known")
    return [None if labels is None else repeated(labels, times)]


def _reshape(coupling: Coupling, node: Node, bottoms: Known, before: ShapesOf, after: ShapesOf) -> Known:
    """Followed where axes 0 and 1 stay, or where axis 1 takes whole axes behind it in."""
    fields, old, new, labels = node.param.reshape_param, before[0], after[0], bottoms[0]
    dims = list(fields.shape.dim)
    kept = [fields.axis > k or (fields.axis == 0 and k < len(dims) and dims[k] == 0) for k in (0, 1)]
    if old is not None and new is not None and len(old) > 1 and len(new) > 1:
        kept = [keep or (old[k] is not None and old[k] == new[k]) for k, keep in enumerate(kept)]
    if all(kept):
        return [labels]
    if kept[0] and old is not None and new is not None and len(new) > 1:
        for end in range(2, len(old) + 1):
            whole, times = product(old[1:end]), product(old[2:end])
            if whole is not None and whole == new[1] and times is not None:
                return [None if labels is None else repeated(labels, times)]
    return _left_alone(coupling, node, bottoms, "gives its channels another order")


def _tile(coupling: Coupling, node: Node, bottoms: Known, before: ShapesOf, after: ShapesOf) -> Known:
    fields, labels = node.param.tile_param, bottoms[0]
    axis = fields.axis if before[0] is None else axis_of(fields.axis, before[0])
    if axis < 0:
        return _left_alone(coupling, node, bottoms, "counts its axis from the end of a blob whose axes are not known")
    return [np.tile(labels, fields.tiles) if axis == 1 and labels is not None else labels]


def _crop(coupling: Coupling, node: Node, bottoms: Known, before: ShapesOf, after: ShapesOf) -> Known:
    axis = node.param.crop_param.axis
    axis = axis if before[0] is None else axis_of(axis, before[0])
    return [bottoms[0]] if axis > 1 else _left_alone(coupling, node, bottoms, "cuts its channels")


def _reduction(coupling: Coupling, node: Node, bottoms: Known, before: ShapesOf, after: ShapesOf) -> Known:
    axis = node.param.reduction_param.axis
    axis = axis if before[0] is None else axis_of(axis, before[0])
    return [bottoms[0]] if axis > 1 else _left_alone(coupling, node, bottoms, "makes one value of all its channels")


def _filter(coupling: Coupling, node: Node, bottoms: Known, before: ShapesOf, after: ShapesOf) -> Known:
    coupling.fix(bottoms[-1], f"layer '{node.name}' chooses by it")
    return bottoms[:-1]


def _silence(coupling: Coupling, node: Node, bottoms: Known, before: ShapesOf, after: ShapesOf) -> Known:
    return []


def _across(crosses: Callable[[Any, KnownShape | None], bool], what: str) -> Rule:
    def rule(coupling: Coupling, node: Node, bottoms: Known, before: ShapesOf, after: ShapesOf) -> Known:
        if crosses(node.param, before[0]):
            coupling.fix(bottoms[0], f"layer '{node.name}' ({node.param.type}) {what}")
        return [bottoms[0]]

    return rule


def _softmax_crosses(param: Any, shape: KnownShape | None) -> bool:
    axis = param.softmax_param.axis
    return bool((axis if shape is None else axis_of(axis, shape)) <= 1)


RULES: Mapping[str, Rule] = {
    "Convolution": _convolution, "Deconvolution": _convolution, "DepthwiseConvolution": _convolution,
    "ConvolutionDepthwise": _convolution, "InnerProduct": _inner_product, "Embed": _embed,
    "BatchNorm": _batch_norm, "PReLU": _prelu, "Scale": _scale, "Bias": _scale,
    "Eltwise": _eltwise, "Concat": _concat, "Slice": _slice, "Flatten": _flatten, "Reshape": _reshape,
    "Tile": _tile, "Crop": _crop, "Reduction": _reduction, "Filter": _filter, "Silence": _silence,
    "LRN": _across(lambda param, shape: param.lrn_param.norm_region == 0, "normalizes across neighbouring channels"),
    "MVN": _across(lambda param, shape: param.mvn_param.across_channels, "normalizes across all channels"),
    "Softmax": _across(_softmax_crosses, "sums over all channels"),
}  # fmt: skip
_MEANING = "gives every channel a meaning"
_READS: Mapping[str, str] = dict.fromkeys(
    (
        "Accuracy", "ArgMax", "ContrastiveLoss", "EuclideanLoss", "HDF5Output", "HingeLoss", "InfogainLoss",
        "MultinomialLogisticLoss", "SigmoidCrossEntropyLoss", "SoftmaxWithLoss",
    ),
    _MEANING,
)  # fmt: skip
