"""Which layers and bottoms of a net need a backward pass (net.cpp, Init)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from caffe_compat.graph.graph import Node
from caffe_compat.layers.base import Layer
from caffe_compat.net.build import loss_weights

# Bottoms that force_backward leaves alone (AllowForceBackward of the layers)
_NEVER_FORCED = {"EuclideanLoss": (), "ContrastiveLoss": (2,), "RNN": (1,), "LSTM": (1,), "LSTMUnit": (2,)}


def _as_wanted(node: Node, wanted: list[bool]) -> list[bool]:
    return wanted


def _all(node: Node, wanted: list[bool]) -> list[bool]:
    return [True] * len(wanted)


def _of_lrn(node: Node, wanted: list[bool]) -> list[bool]:
    fields = node.param.lrn_param
    return wanted if fields.norm_region == fields.WITHIN_CHANNEL else [True]


def _of_recurrent(node: Node, wanted: list[bool]) -> list[bool]:
    """The sequence and a static input, not the first states."""
    states = (2 if node.param.type == "LSTM" else 1) * node.param.recurrent_param.expose_hidden
    return [index != 1 and index < len(wanted) - states for index in range(len(wanted))]


def _but_the_last(node: Node, wanted: list[bool]) -> list[bool]:
    return [*wanted[:-1], False]


_WRITTEN: Mapping[str, Callable[[Node, list[bool]], list[bool]]] = {
    "BatchNorm": _all, "Im2col": _all, "LRN": _of_lrn, "MVN": _all, "Softmax": _all,
    "LSTM": _of_recurrent, "RNN": _of_recurrent, "LSTMUnit": lambda node, wanted: [any(wanted[:2])] * 2 + [False],
    "ContrastiveLoss": _but_the_last, "Crop": _but_the_last,
}  # fmt: skip


@dataclass
class Need:
    """layer: whether Backward is called. bottoms: for each, whether its diff is wanted.

    written: for each, whether Backward writes its diff, which some layers do unasked, and others never. blobs: for each
    learnable blob, whether this layer adds to its diff; one with lr_mult 0 does not, whoever shares the blob.
    """

    layer: bool
    bottoms: list[bool]
    written: list[bool] = field(default_factory=list)
    blobs: list[bool] = field(default_factory=list)


def backward_needs(nodes: Sequence[Node], layers: Sequence[Layer], force_backward: bool) -> list[Need]:
    """A Need for each layer, in their order."""
    needs = _from_parameters(nodes, layers)
    _only_under_losses(nodes, layers, needs)
    if force_backward:
        for node, layer, need in zip(nodes, layers, needs, strict=True):
            never = _NEVER_FORCED.get(node.param.type, (1,) if layer.default_loss_weight else ())
            need.layer = True
            need.bottoms = [wanted or index not in never for index, wanted in enumerate(need.bottoms)]
    for node, layer, need in zip(nodes, layers, needs, strict=True):
        need.blobs = [force_backward or _learns(layer, index) for index in range(len(layer.blobs))]
        need.written = _WRITTEN.get(node.param.type, _as_wanted)(node, need.bottoms) if need.layer else need.bottoms
    return needs


def unheeded(nodes: Sequence[Node], layers: Sequence[Layer]) -> frozenset[tuple[int, int]]:
    """(node, bottom) where a layer hands its gradient down though propagate_down is false.

    Its Backward does not look at the flag, or top and bottom share their diff, and the layer that made the bottom has a
    backward pass for the sake of another reader, or of a loss_weight.
    """
    if all(all(node.propagate_down) for node in nodes):
        return frozenset()
    needs = backward_needs(nodes, layers, force_backward=False)
    run = {top for node, need in zip(nodes, needs, strict=True) if need.layer for top in node.tops}
    return frozenset(
        (number, index)
        for number, (node, need) in enumerate(zip(nodes, needs, strict=True))
        for index, bottom in enumerate(node.bottoms)
        if need.layer and bottom in run and not node.propagate_down[index]
        if need.written[index] or _shares(node)
    )


def _shares(node: Node) -> bool:
    """Whether top and bottom have one diff."""
    kind = node.param.type
    alone = (kind == "Concat" and len(node.bottoms) == 1) or (kind == "Slice" and len(node.tops) == 1)
    return alone or kind in ("Flatten", "Reshape")


def _from_parameters(nodes: Sequence[Node], layers: Sequence[Layer]) -> list[Need]:
    """What lies above a learnable blob, and no propagate_down keeps it off."""
    reached: set[str] = set()
    needs = []
    for node, layer in zip(nodes, layers, strict=True):
        given = list(node.param.propagate_down)
        bottoms = given or [bottom.name in reached for bottom in node.bottoms]
        learns = any(_learns(layer, index) for index in range(len(layer.blobs)))
        need = Need(learns or any(bottom.name in reached for bottom in node.bottoms), bottoms)
        needs.append(need)
        if need.layer:
            reached.update(top.name for top in node.tops)
    return needs


def _learns(layer: Layer, index: int) -> bool:
    """Statistics too where no lr_mult is given: Net does not ask the layer, which will set it to 0."""
    given = list(layer.param.param)
    return index >= len(given) or given[index].lr_mult != 0


def _only_under_losses(nodes: Sequence[Node], layers: Sequence[Layer], needs: list[Need]) -> None:
    """Take back what contributes to no loss, or lies above what all propagate_down keep off."""
    under, skipped = set[str](), set[str]()
    for node, layer, need in reversed(list(zip(nodes, layers, needs, strict=True))):
        weights = loss_weights(node, layer)
        tops = [top.name for top in node.tops]
        contributes = any(weight or top in under for top, weight in zip(tops, weights, strict=True))
        if need.layer and all(top in skipped for top in tops):
            need.layer = False
            need.bottoms = [False] * len(need.bottoms)
        if not contributes:
            need.layer = False
            need.bottoms = [False] * len(need.bottoms)
        for bottom, wanted in zip(node.bottoms, need.bottoms, strict=True):
            if contributes:
                under.add(bottom.name)
            if not wanted:
                skipped.add(bottom.name)
