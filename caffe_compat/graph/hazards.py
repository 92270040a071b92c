"""Where Caffe computes with other values than a prototxt says, because layers share memory: `find_hazards(nodes)`.

An in-place layer overwrites data that others read: a later layer in its forward pass, an earlier one when its gradient
is computed. It may also lose its own bottom before it has read it, or its own gradient. Flatten
may take the gradient of a layer away whose top's gradient lies in another's array. What each type's backward pass reads
stands in `backward_reads` (Backward_cpu in src/caffe/layers at 9b89154).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from caffe_compat.graph.sharing import Sharing, in_place_tops, share_arrays, shares_diff
from caffe_compat.graph.wiring import Blob, Node


@dataclass(frozen=True)
class Reads:
    """What a backward pass reads: values of bottoms, only the signs of bottoms, values of tops, by number."""

    bottoms: tuple[int, ...] = ()
    signs: tuple[int, ...] = ()
    tops: tuple[int, ...] = ()


@dataclass(frozen=True)
class Hazard:
    """Where Caffe's node `number` does not compute what its prototxt says.

    read: bottom -> the version that lies there when the layer runs forward. bottoms, tops: number -> the version that
    lies there when its gradient is computed. in_place: its own passes destroy what they still have to read. notes: what
    happens, for people, and whether the forward pass has it. undefined: why no number is Caffe's, empty where there is.
    """

    number: int
    read: Mapping[int, Blob] = field(default_factory=dict)
    bottoms: Mapping[int, Blob] = field(default_factory=dict)
    tops: Mapping[int, Blob] = field(default_factory=dict)
    in_place: bool = False
    notes: tuple[tuple[str, bool], ...] = ()
    undefined: str = ""


@dataclass(frozen=True)
class Hazards:
    """The hazards of some nodes by number, the nodes that touch the same memory, and blobs that end up as others.

    cut: blobs whose gradient goes no further -> the name of the Flatten that takes it, and of the layer that lacks it.
    """

    sharing: Sharing
    by_number: Mapping[int, Hazard]
    touched: frozenset[int]
    final: Mapping[Blob, Blob]
    cut: Mapping[Blob, tuple[str, str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.by_number or self.final)

    @property
    def lost_gradients(self) -> Iterator[tuple[str, str]]:
        """(Flatten, what happens, for people) for each blob of `cut`."""
        for flatten, maker in self.cut.values():
            yield flatten, f"it takes its gradient from layer '{maker}', which passes on zeros: nothing above learns"

    @property
    def kept(self) -> frozenset[Blob]:
        """The versions that some backward pass reads."""
        found = (each for hazard in self.by_number.values() for part in (hazard.bottoms, hazard.tops) for each in
                 part.values())  # fmt: skip
        return frozenset(found)


def find_hazards(nodes: Sequence[Node]) -> Hazards:
    """All hazards of `nodes`, those of a Graph or those of its nodes that run, in forward order."""
    sharing = share_arrays(nodes)
    found: dict[int, Hazard] = {}
    for number, node in enumerate(nodes):
        if all(bottom in sharing.data for bottom in node.bottoms):
            hazard = _hazard(nodes, sharing, number)
            if hazard is not None:
                found[number] = hazard
    arrays = {sharing.data[blob] for number in found for blob in (*nodes[number].bottoms, *nodes[number].tops)}
    touched = {k for k, node in enumerate(nodes) for blob in (*node.bottoms, *node.tops)
               if sharing.data.get(blob) in arrays}  # fmt: skip
    last = {top.name: top for node in nodes for top in node.tops}
    final = {blob: sharing.left(blob) for blob in last.values() if sharing.left(blob) != sharing.origin[blob]}
    return Hazards(sharing, found, frozenset(touched), final, _cut(nodes))


def _cut(nodes: Sequence[Node]) -> dict[Blob, tuple[str, str]]:
    """The tops of layers that look for their gradient where Flatten, having another array for it, left zeros.

    Flatten's backward pass gives its bottom the array of its own top's gradient (flatten_layer.cpp, ShareDiff). A layer
    whose top had a bottom's array, a learnable blob's or one of its inner net goes on with that, which nobody wrote.
    """
    makers = {top.name: (node, top) for node in nodes for top in node.tops if not top.version}
    flattened = [(node.bottoms[0].name, node.name) for node in nodes if node.param.type == "Flatten"]
    found = [(name, by, *makers[name]) for name, by in flattened if name in makers]
    return {top: (by, node.name) for name, by, node, top in found if _keeps_array(node)}


def _keeps_array(node: Node) -> bool:
    """Whether the gradient of a layer's top lies in an array that it, or the layer before, has by another way too."""
    return node.param.type in ("LSTM", "Parameter", "RNN") or (shares_diff(node) and node.param.type != "Flatten")


def _hazard(nodes: Sequence[Node], sharing: Sharing, number: int) -> Hazard | None:
    node = nodes[number]
    found = [*_found_forward(nodes, sharing, number), *_found_backward(nodes, sharing, number)]
    destroys = _DESTROYS.get(node.param.type) if in_place_tops(node) else None
    harm = destroys(node.param) if destroys else ""
    if not found and not harm:
        return None
    parts: dict[str, dict[int, Blob]] = {"read": {}, "bottoms": {}, "tops": {}}
    for part, index, there, _ in found:
        parts[part][index] = there
    notes = [(text, part == "read") for part, _, _, text in found] + ([(harm, harm in _FORWARD)] if harm else [])
    return Hazard(number, **parts, in_place=bool(harm), notes=tuple(notes), undefined=harm if harm == _WILD else "")


_Found = Iterator[tuple[str, int, Blob, str]]  # field of Hazard, number of the bottom or top, what is there, for people


def _found_forward(nodes: Sequence[Node], sharing: Sharing, number: int) -> _Found:
    """The bottoms that hold something else when node `number` runs."""
    for index, blob in enumerate(nodes[number].bottoms):
        there = sharing.content(blob, number)
        if there != sharing.origin[blob]:
            maker = next(node.name for node in nodes if there in node.tops)
            text = f"layer '{maker}' has overwritten its bottom '{_own_name(nodes, blob)}' before it is read"
            yield "read", index, there, text


def _found_backward(nodes: Sequence[Node], sharing: Sharing, number: int) -> _Found:
    """What node `number` reads for its gradient and finds overwritten."""
    node = nodes[number]
    reads = backward_reads(node)
    for index, blob in enumerate(node.bottoms):
        writers = [nodes[each] for each in sharing.overwritten(blob, number - 1)]
        if index not in reads.bottoms:
            writers = [each for each in writers if index in reads.signs and not _keeps_sign(each)]
        if writers:
            by = "it" if writers[0] is node else f"layer '{writers[0].name}'"
            text = f"its gradient is computed from its bottom '{_own_name(nodes, blob)}', which {by} has overwritten"
            yield "bottoms", index, sharing.left(blob), text
    for index in (each for each in reads.tops if each < len(node.tops)):  # a layer may name none
        blob = node.tops[index]
        writers = [nodes[each] for each in sharing.overwritten(blob, number)]
        if writers:
            text = f"its gradient is computed from its top '{_own_name(nodes, blob)}', which "
            yield "tops", index, sharing.left(blob), f"{text}layer '{writers[0].name}' has overwritten"


def _own_name(nodes: Sequence[Node], blob: Blob) -> str:
    """The name that the prototxt has for `blob`, which may be a Split's copy."""
    made = (node for node in nodes if node.param.type == "Split" and blob in node.tops)
    return next((node.bottoms[0].name for node in made), blob.name)


def backward_reads(node: Node) -> Reads:
    """What the backward pass of a layer reads of its bottoms and tops; nothing for a type not known here."""
    reads = _READS.get(node.param.type, Reads())
    return reads(node) if callable(reads) else reads


def _keeps_sign(node: Node) -> bool:
    """Whether values above 0 stay above 0, and others not above, as far as a gradient flows through them."""
    param = node.param
    return bool(
        param.type in ("Dropout", "TanH")
        or (param.type == "ReLU" and param.relu_param.negative_slope >= 0)
        or (param.type == "ELU" and param.elu_param.alpha > 0)
    )


def _eltwise(node: Node) -> Reads:
    fields = node.param.eltwise_param
    if fields.operation != fields.PROD:
        return Reads()
    every = tuple(range(len(node.bottoms)))
    return Reads(bottoms=every) if fields.stable_prod_grad else Reads(bottoms=every, tops=(0,))


def _lrn(node: Node) -> Reads:
    fields = node.param.lrn_param
    return Reads(bottoms=(0,), tops=() if fields.norm_region == fields.WITHIN_CHANNEL else (0,))


def _power(node: Node) -> Reads:
    fields = node.param.power_param
    if fields.power * fields.scale == 0 or fields.power == 1:
        return Reads()
    return Reads(bottoms=(0,)) if fields.power == 2 else Reads(bottoms=(0,), tops=(0,))


def _scale(node: Node) -> Reads:
    """In place, Scale keeps a copy of its bottom for the gradient of its factor."""
    first = () if in_place_tops(node) else (0,)
    return Reads(bottoms=(*first, 1) if len(node.bottoms) > 1 else first)


def _reduction(node: Node) -> Reads:
    fields = node.param.reduction_param
    return Reads(bottoms=(0,)) if fields.operation in (fields.ASUM, fields.SUMSQ) else Reads()


_BOTTOM, _TOP = Reads(bottoms=(0,)), Reads(tops=(0,))
_LABEL = Reads(bottoms=(1,))
_READS: Mapping[str, Reads | Callable[[Node], Reads]] = {
    "AbsVal": _BOTTOM, "BNLL": _BOTTOM, "Clip": _BOTTOM, "Embed": _BOTTOM, "InnerProduct": _BOTTOM, "Log": _BOTTOM,
    "Exp": _TOP, "Sigmoid": _TOP, "Softmax": _TOP, "Swish": _TOP, "TanH": _TOP,
    "ReLU": Reads(signs=(0,)), "ELU": Reads(signs=(0,), tops=(0,)),
    "PReLU": lambda node: Reads() if in_place_tops(node) else _BOTTOM,
    "Convolution": lambda node: Reads(bottoms=tuple(range(len(node.bottoms)))),
    "Deconvolution": lambda node: Reads(bottoms=tuple(range(len(node.bottoms)))),
    "MVN": lambda node: _TOP if node.param.mvn_param.normalize_variance else Reads(),
    "Eltwise": _eltwise, "LRN": _lrn, "Power": _power, "Scale": _scale, "Reduction": _reduction,
    "BatchReindex": _LABEL, "HingeLoss": _LABEL, "SoftmaxWithLoss": _LABEL,
    "InfogainLoss": lambda node: Reads(bottoms=tuple(range(1, len(node.bottoms)))),
    "SigmoidCrossEntropyLoss": _LABEL, "MultinomialLogisticLoss": Reads(bottoms=(0, 1)),
    "ContrastiveLoss": Reads(bottoms=(2,)), "LSTMUnit": Reads(bottoms=(0, 1, 2), tops=(0,)),
}  # fmt: skip

_LOST = "it overwrites its bottom before it has read it"
_LOST_PARTLY = "it overwrites parts of its bottom before it has read them, which parts depends on the BLAS library"
_WILD = "it overwrites its bottom before it has read it, and then writes its gradient outside of any array"
_LOST_DIFF = "its gradient overwrites that of its top before it has read it"
_FORWARD = frozenset({_LOST, _LOST_PARTLY, _WILD})


def _of_pooling(param: Any) -> str:
    return _LOST if param.pooling_param.pool == param.pooling_param.AVE else _WILD


def _of_eltwise(param: Any) -> str:
    return _LOST_DIFF if param.eltwise_param.operation == param.eltwise_param.PROD else _LOST


def _of_lrn(param: Any) -> str:
    return "" if param.lrn_param.norm_region == param.lrn_param.WITHIN_CHANNEL else _LOST


def _of_convolution(param: Any) -> str:
    """Windows of one value are multiplied where they lie; larger ones are copied first (base_conv_layer.cpp)."""
    fields = param.convolution_param
    sizes = [*fields.kernel_size, fields.kernel_h or 1, fields.kernel_w or 1]
    return "" if any(size > 1 for size in sizes) else _LOST_PARTLY


_DESTROYS: Mapping[str, Callable[[Any], str]] = {
    "Convolution": _of_convolution, "Deconvolution": _of_convolution, "Eltwise": _of_eltwise, "LRN": _of_lrn,
    "InnerProduct": lambda param: _LOST_PARTLY, "Pooling": _of_pooling, "Log": lambda param: _LOST_DIFF,
    "MVN": lambda param: _LOST_DIFF if param.mvn_param.normalize_variance else "",
    "Power": lambda param: _LOST_DIFF if param.power_param.power * param.power_param.scale else "",
}  # fmt: skip
