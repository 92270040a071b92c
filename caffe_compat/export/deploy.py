"""From the net that is trained and tested to the net that is deployed.

Given:

    layer { name: "mnist" type: "Data" top: "data" top: "label" include { phase: TEST } ... }
    layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" param { lr_mult: 1 } ... }
    layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }

Result:

    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 28 dim: 28 } } }
    layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" ... }
    layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from caffe_compat.errors import GraphError
from caffe_compat.export.heads import Step, find_heads, steps_of, wanted_values
from caffe_compat.graph.graph import build_graph
from caffe_compat.graph.rules import net_state, partition
from caffe_compat.layers.base import Context, Shape
from caffe_compat.layers.registry import loss_types
from caffe_compat.net.missing import log_missing, refuse_missing
from caffe_compat.net.shapes import set_up_layers
from caffe_compat.net.sources import refuse_unknown_inputs, shapes_of_source
from caffe_compat.proto.model import Model, ModelLike, as_model
from caffe_compat.proto.pixels import Pixels, pixels_of_layer
from caffe_compat.proto.schema import FillerParameter, LayerParameter, NetParameter, is_repeated
from caffe_compat.proto.spelling import spell_out_norms

logger = logging.getLogger(__name__)

_KEPT_SOURCES = frozenset({"DummyData", "Input", "Parameter"})
_TRAINING = ("lr_mult", "decay_mult", "force_mult")


def deploy(
    model: ModelLike,
    batch: int | None = None,
    shapes: Mapping[str, Shape] | None = None,
    level: int = 0,
    stages: Iterable[str] = (),
    keep_training: bool = False,
    folder: Path | None = None,
    allow_missing: Collection[str] | None = None,
    phase: str | None = None,
) -> Model:
    """The deploy form of a net: what its TEST phase computes from the data alone, without labels.

    Data layers become Inputs; losses the Softmax or Sigmoid that they have inside, unless the net has it already;
    other losses, Accuracy, Silence and HDF5Output go, and with them all that only they read. Of several losses on the
    same labels those with a smaller loss_weight are auxiliary and go with their branches. Rules, loss weights,
    fillers and learning rates go too; `keep_training` keeps the last two. The names of parameters stay, and so do the
    fillers of a layer that the given weights lack. Every decision is logged.

    batch: of every Input; by default 1, and for what is an Input already its own. shapes: {blob: shape} for data that
    is not here and whose shape the net does not tell. allow_missing: layers of the result that may lack weights where
    others have some, WeightsError for any other; None only warns of them. phase: whose layers are taken, by default
    TEST's, and TRAIN's, with a warning, where only TRAIN has data. Raises GraphError where a shape or an output is
    missing.
    """
    model = as_model(model)
    folder = model.folder if folder is None else folder
    stages = tuple(stages)
    refuse_unknown_inputs([model], shapes or {})
    phase = _phase(model.net, phase, level, stages)
    included, _ = partition(model.net.layer, net_state(model.net, phase, level, stages))
    steps = steps_of(without_splits(included))
    heads = find_heads(steps)
    wanted = wanted_values(steps, heads, set(model.weights))
    if not wanted:
        raise GraphError(f"net '{model.net.name}': nothing is left without its losses; it has no output to deploy")
    inputs = _Inputs(model, Context(phase, folder=folder), batch, dict(shapes or {}))
    net = NetParameter(name=model.net.name)
    net.layer.extend(_kept(steps, {id(head.step): head.layer for head in heads if head.layer}, wanted, inputs))
    names = {layer.name for layer in net.layer}
    for layer in net.layer:
        _clear_rules(layer)
        if not keep_training:
            _clear_training(layer, keep_fillers=bool(model.weights) and layer.name not in model.weights)
    if not keep_training:
        logger.info("fillers, learning rates and decay multipliers cleared")
    names -= _left_without_blobs(net, included, folder)
    spell_out_norms(net)
    kept = {name: blobs for name, blobs in model.weights.items() if name in names}
    pixels = _pixels(model, included, net)
    made = Model(net, kept, files=model.files, ignored=model.ignored, pixels=pixels, folder=model.folder)
    if allow_missing is None:
        log_missing(made)
    else:
        refuse_missing(made, allow_missing)
    return made


def _phase(net: Any, asked: str | None, level: int, stages: tuple[str, ...]) -> str:
    """The phase whose layers are deployed; GraphError where they cannot be wired."""
    try:
        build_graph(net, asked or "TEST", level, stages, loss_types())
        return asked or "TEST"
    except GraphError as error:
        if asked:
            raise
        try:
            build_graph(net, "TRAIN", level, stages, loss_types())
        except GraphError:
            raise error from None
        logger.warning("the layers of TRAIN are taken, for those of TEST do not fit together: %s", error)
        return "TRAIN"


def _kept(steps: list[Step], replaced: Mapping[int, Any], wanted: set[Any], inputs: _Inputs) -> list[Any]:
    """The layers that `wanted` needs, in order: losses and data layers by what takes their place."""
    needed, kept = set(wanted), []
    for step in reversed(steps):
        if id(step) in replaced:
            needed.add(step.reads[0])
            kept.append([replaced[id(step)]])
        elif needed.intersection(step.makes) and not step.is_loss:
            needed.update(step.reads)
            is_data = not step.reads and step.layer.type not in _KEPT_SOURCES
            live = [value[0] for value in step.makes if value in needed]
            kept.append(inputs.in_place_of(step.layer, live) if is_data else [inputs.resized(step.layer)])
        else:
            logger.info("layer '%s' (%s) dropped", step.layer.name, step.layer.type)
    return [layer for group in reversed(kept) for layer in group]


def _pixels(model: Model, included: Iterable[Any], net: Any) -> dict[str, Pixels]:
    """What the images of each Input of `net` went through in the data layers, or long before."""
    found = dict(model.pixels)
    for layer in included:
        pixels = pixels_of_layer(layer) if layer.top else None
        if pixels is not None:
            found[layer.top[0]] = pixels
    inputs = {top for layer in net.layer if layer.type == "Input" for top in layer.top}
    for blob, pixels in found.items():
        if blob in inputs and pixels.changes:
            logger.info("input '%s' takes %s", blob, pixels)
    return {blob: pixels for blob, pixels in found.items() if blob in inputs}


def _left_without_blobs(net: Any, before: Iterable[Any], folder: Path | None) -> set[str]:
    """The names that several layers had `before`, of which those with the blobs are no longer in `net`."""
    counts = Counter(layer.name for layer in before)
    doubtful = {layer.name for layer in net.layer if counts[layer.name] > 1}
    if not doubtful:
        return set()
    with torch.device("meta"):  # no memory, no random numbers
        layers, _ = set_up_layers(build_graph(net, "TEST"), Context("TEST", folder=folder), {})
    return doubtful - {layer.name for layer in layers if len(layer.blobs)}


class _Inputs:
    """Input layers for the data layers of a net."""

    def __init__(self, model: Model, context: Context, batch: int | None, shapes: Mapping[str, Shape]) -> None:
        self.model, self.context, self.batch, self.shapes = model, context, batch, shapes

    def in_place_of(self, layer: Any, tops: list[str]) -> list[Any]:
        """An Input for each of the `tops` that are needed of a data layer."""
        missing = [top for top in tops if top not in self.shapes]
        found = shapes_of_source(self.model, layer, self.context) if missing else {}
        inputs = []
        for top in tops:
            shape = self.shapes.get(top) or found.get(top)
            if not shape:
                raise GraphError(_no_shape(layer, top, self.model))
            batch = self.batch or (shape[0] if top in self.shapes else 1)
            sizes = (batch, *shape[1:])
            inputs.append(LayerParameter(name=top, type="Input", top=[top]))
            inputs[-1].input_param.shape.add(dim=sizes)
            logger.info("layer '%s' (%s) now an Input of %s", layer.name, layer.type, "x".join(map(str, sizes)))
        return inputs

    def resized(self, layer: Any) -> Any:
        """`layer` itself; an Input with the shape and batch that were asked for."""
        if layer.type != "Input":
            return layer
        declared = [shape.dim for shape in layer.input_param.shape]
        if not declared and all(top in self.shapes for top in layer.top):
            declared = [self.shapes[top] for top in layer.top]
        each = declared * len(layer.top) if len(declared) == 1 else declared
        sizes = [list(self.shapes.get(top, dims)) for top, dims in zip(layer.top, each, strict=False)]
        layer.input_param.ClearField("shape")
        for dims in sizes:
            layer.input_param.shape.add(dim=[self.batch or dims[0], *dims[1:]] if dims else [])
        return layer


def _no_shape(layer: Any, top: str, model: Model) -> str:
    size = layer.transform_param.crop_size or 32
    readers = [f"'{other.name}' ({other.type})" for other in model.net.layer if top in other.bottom]
    return (
        f"layer '{layer.name}': the shape of '{top}' is not known without its data ('{top}' goes to "
        f"{' and '.join(readers[:2])}); give it: --shape {top}=1,3,{size},{size}, "
        f"or shapes={{'{top}': (1, 3, {size}, {size})}}"
    )


def without_splits(layers: Iterable[Any]) -> list[Any]:
    """Copies of `layers` without the Splits that a caffemodel has; whoever reads one reads what it copies."""
    original: dict[str, str] = {}
    kept = []
    for layer in layers:
        if layer.type == "Split" and layer.name.endswith("_split") and len(layer.bottom) == 1:
            original.update(dict.fromkeys(layer.top, original.get(layer.bottom[0], layer.bottom[0])))
            continue
        copy = LayerParameter()
        copy.CopyFrom(layer)
        copy.bottom[:] = [original.get(name, name) for name in layer.bottom]
        kept.append(copy)
    return kept


def _clear_rules(layer: Any) -> None:
    for field in ("include", "exclude", "phase", "loss_weight", "propagate_down"):
        layer.ClearField(field)


def _clear_training(layer: Any, keep_fillers: bool) -> None:
    for spec in layer.param:
        for field in _TRAINING:
            spec.ClearField(field)
    if not any(spec.ListFields() for spec in layer.param):
        layer.ClearField("param")
    if keep_fillers or layer.type == "DummyData":
        return
    for field, message in layer.ListFields():
        if field.message_type is None or is_repeated(field):
            continue
        for inner, _ in message.ListFields():
            if inner.message_type is not None and inner.message_type.full_name == FillerParameter.DESCRIPTOR.full_name:
                message.ClearField(inner.name)
