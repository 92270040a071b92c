"""Where a net for training ends: its losses, which of them are auxiliary, and what it gives once they are gone."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from caffe_compat.layers.registry import loss_types
from caffe_compat.proto.schema import LayerParameter

logger = logging.getLogger(__name__)

Value = tuple[str, int]  # a blob's name, and which layer that makes it is meant, counted from 0

# A loss of class scores -> the layer that it has inside; None where its bottom has the probabilities already
_INSIDE = {
    "InfogainLoss": "Softmax",
    "MultinomialLogisticLoss": None,
    "SigmoidCrossEntropyLoss": "Sigmoid",
    "SoftmaxWithLoss": "Softmax",
}
_METRICS = frozenset({"Accuracy", "HDF5Output", "Silence"})
_MEASURES = ("Accuracy", "Evaluate")  # ends of the types that compare with the truth
_LEARNING = frozenset(
    {"Convolution", "ConvolutionDepthwise", "Deconvolution", "DepthwiseConvolution", "Embed", "InnerProduct", "LSTM",
     "RNN"}
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Step:
    """One layer with the values that it reads and makes."""

    layer: Any
    reads: tuple[Value, ...]
    makes: tuple[Value, ...]

    @property
    def is_loss(self) -> bool:
        """Whether it is a loss, by its type or by a loss_weight."""
        return self.layer.type in loss_types() or self.layer.type.endswith("Loss") or any(self.layer.loss_weight)

    @property
    def is_metric(self) -> bool:
        """Whether it only measures, shows or stores."""
        compares = self.layer.type == "CTCGreedyDecoder" and len(self.reads) > 1
        return compares or self.layer.type in _METRICS or self.layer.type.endswith(_MEASURES)

    @property
    def weight(self) -> float:
        """The loss_weight of the first top."""
        return float(self.layer.loss_weight[0]) if self.layer.loss_weight else 1.0


@dataclass(frozen=True)
class Head:
    """A loss that stays, `layer` is what takes its place (None: nothing), `value` what is wanted of it."""

    step: Step
    layer: Any
    value: Value


def steps_of(layers: Iterable[Any]) -> list[Step]:
    """The layers with their values; an in-place layer makes the next value of a name."""
    now: dict[str, int] = {}
    steps = []
    for layer in layers:
        reads = tuple((name, now[name]) for name in layer.bottom)
        for name in layer.top:
            now[name] = now.get(name, -1) + 1
        steps.append(Step(layer, reads, tuple((name, now[name]) for name in layer.top)))
    return steps


def find_heads(steps: Sequence[Step]) -> list[Head]:
    """What takes the place of each loss of class scores that is not auxiliary."""
    losses = [step for step in steps if step.layer.type in _INSIDE and len(step.reads) > 1]
    heaviest: dict[Value, float] = {}
    for step in losses:
        heaviest[step.reads[1]] = max(step.weight, heaviest.get(step.reads[1], step.weight))
    taken = {layer_name for step in steps for layer_name in (step.layer.name, *step.layer.top)}
    heads: list[Head] = []
    for step in losses:
        if step.weight < heaviest[step.reads[1]]:
            logger.info(
                "layer '%s': auxiliary, for its loss_weight %g is below the %g of another loss on '%s'",
                step.layer.name, step.weight, heaviest[step.reads[1]], step.reads[1][0],
            )  # fmt: skip
            continue
        heads.append(_head(step, steps, heads, taken))
    return heads


def _head(step: Step, steps: Sequence[Step], heads: Sequence[Head], taken: set[str]) -> Head:
    scores, kind = step.reads[0], _INSIDE[step.layer.type]
    if kind is None or any(other.layer.type == kind and scores in other.makes for other in steps):
        return Head(step, None, scores)
    known = [other.makes[0] for other in steps if other.layer.type == kind and other.reads == (scores,)]
    known += [head.value for head in heads if head.layer and head.step.reads[0] == scores and head.layer.type == kind]
    if known:
        return Head(step, None, known[0])
    top = step.layer.top[1] if len(step.layer.top) > 1 else _free_name("prob", scores[0], taken)
    layer = LayerParameter(name=top, type=kind, bottom=[scores[0]], top=[top])
    if kind == "Softmax" and step.layer.HasField("softmax_param"):
        layer.softmax_param.CopyFrom(step.layer.softmax_param)
    taken.add(top)
    logger.info("layer '%s' (%s) now '%s' (%s)", step.layer.name, step.layer.type, top, kind)
    return Head(step, layer, (top, 0))


def _free_name(name: str, stem: str, taken: Collection[str]) -> str:
    while name in taken:
        name = f"{stem}_{name}"
    return name


def wanted_values(steps: Sequence[Step], heads: Sequence[Head], with_weights: Collection[str]) -> set[Value]:
    """The outputs of the deployed net.

    Those of its heads; what other losses compare, if it was learned; what nothing reads, unless data or a measure
    made it; and where that is nothing, what the measures measure.
    """
    wanted = {head.value for head in heads}
    read = {value for step in steps for value in step.reads}
    learned: set[Value] = set()
    lost: set[Value] = set()  # losses, and what is computed from them, such as hard examples
    for step in steps:
        if step.is_loss or lost.intersection(step.reads):
            lost.update(step.makes)
        elif step.layer.name in with_weights or step.layer.type in _LEARNING or learned.intersection(step.reads):
            learned.update(step.makes)
        if step.is_loss and step.layer.type not in _INSIDE:
            wanted.update(learned.intersection(step.reads))
        elif step.reads and not step.is_loss and not step.is_metric:
            wanted.update(value for value in step.makes if value not in read and value not in lost)
    if not wanted:
        wanted.update(step.reads[0] for step in steps if step.layer.type.endswith(_MEASURES))
    return wanted
