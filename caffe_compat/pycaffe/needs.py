"""Where Caffe stops: at layers that it does not take, and in backward passes at gradients that it has not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from caffe_compat.graph.graph import Node
from caffe_compat.layers.base import Layer
from caffe_compat.net.needs import Need
from caffe_compat.pycaffe.bindings import check

_WITHOUT_BACKWARD = frozenset({"Accuracy", "ArgMax", "Threshold"})
_LABELS = "{kind} Layer cannot backpropagate to label inputs."
_SEQUENCE = "Cannot backpropagate to sequence indicators."
_REFUSED: Mapping[str, tuple[tuple[int, ...], str]] = {  # bottoms, and why Caffe stops where their diff is wanted
    **dict.fromkeys(("HingeLoss", "MultinomialLogisticLoss", "SigmoidCrossEntropyLoss", "SoftmaxWithLoss"),
                    ((1,), _LABELS)),
    "InfogainLoss": ((1, 2), "{kind} Layer cannot backpropagate to label or infogain inputs."),
    "BatchReindex": ((1,), "Cannot backprop to index."),
    "Embed": ((0,), "Can't backpropagate to EmbedLayer input."),
    "Filter": ((-1,), "{kind}Layer cannot backpropagate to filter index inputs"),
    "LSTM": ((1,), _SEQUENCE), "LSTMUnit": ((2,), _SEQUENCE), "RNN": ((1,), _SEQUENCE),
}  # fmt: skip


def check_layers(nodes: Sequence[Node], layers: Sequence[Layer]) -> None:
    """CheckError where Caffe's layers refuse what ours take: statistics that learn, a loss of two tops unweighted."""
    for node, layer in zip(nodes, layers, strict=True):
        given, tops, where = list(node.param.param), len(node.tops), f"(layer '{node.name}')"
        learn = [index for index in layer.fixed_blobs if index < len(given) and given[index].lr_mult != 0]
        why = f"Cannot configure batch normalization statistics as layer parameters. {where}"
        check(not learn, "this->layer_param_.param(i).lr_mult() == 0.f", why)
        why = f"loss_weight must be unspecified or specified once per top blob. {where}"
        weighted = tops < 2 or not layer.default_loss_weight or bool(node.param.loss_weight)
        check(weighted, f"top.size() == num_loss_weights ({tops} vs. 1)", why)


def refusal(node: Node, need: Need) -> str:
    """What Caffe says where it stops in Backward, at what is wanted of it; "" where it does not."""
    kind = node.param.type
    if not need.layer:
        return ""
    if kind in _WITHOUT_BACKWARD and (any(need.bottoms) or kind != "Accuracy"):
        return f"Not Implemented Yet: Backward of layer '{node.name}', {kind}"
    refused, why = _REFUSED.get(kind, ((), ""))
    for index, wanted in enumerate(need.bottoms):
        if wanted and (index in refused or index - len(need.bottoms) in refused):
            return f"Check failed: !propagate_down[{index}] {why.format(kind=kind)} (layer '{node.name}')"
    return ""
