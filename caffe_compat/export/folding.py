"""BatchNorm, Scale, Bias, Power and Dropout folded into the layers beside them, as they act in TEST.

Given:                                              Result:
    layer { name: "conv" type: "Convolution" ... }      layer { name: "conv" type: "Convolution" ... top: "conv" }
    layer { name: "bn" type: "BatchNorm" ... }          layer { name: "relu" type: "ReLU" ... }
    layer { name: "scale" type: "Scale" ... }
    layer { name: "relu" type: "ReLU" ... }

What stands behind a Convolution, Deconvolution or InnerProduct gives every channel c of its top a_c y_c + s_c: the
filters become a W and the bias a b + s. What stands before one gives that to its bottom: W_c a_c, and b + sum of W s,
which holds only without padding, or where s is 0.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from caffe_compat.errors import GraphError, WeightsError
from caffe_compat.export.affine import affine_of
from caffe_compat.export.deploy import without_splits
from caffe_compat.export.filters import Filters, filters_of
from caffe_compat.export.heads import Step, Value, steps_of
from caffe_compat.graph.rules import net_state, partition
from caffe_compat.layers.base import Layer, Shape
from caffe_compat.net.channelwise import Affine
from caffe_compat.net.comparison import common_shapes
from caffe_compat.net.missing import has_blobs, refuse_missing
from caffe_compat.net.net import Net
from caffe_compat.net.shapes import infer_shapes
from caffe_compat.proto.model import Model, Weights
from caffe_compat.proto.schema import LayerParameter, NetParameter

log = logging.getLogger(__name__)


def fold_batch_norm(model: Model, input_shapes: Mapping[str, Shape] | None = None, folder: Path | None = None) -> Model:
    """The TEST net of `model` with its BatchNorm, Scale, Bias, Power and Dropout folded away where they can be.

    Outputs are equal to rounding; names of outputs stay. A layer that cannot be folded stays, and a warning says why:
    what it would go into shares its weights, is read by others too, or is none of the three types. input_shapes:
    {blob: shape} for data that is not here. folder: where the net's file lies. Raises GraphError where there is a
    BatchNorm and nothing can be folded, WeightsError for weights that are missing or not finite, and for statistics
    under a factor of 0.
    """
    if not model.weights:
        raise WeightsError(f"net '{model.net.name}' has no weights to fold; read the model with its weights")
    refuse_missing(model, phase="TEST")
    fold = _Fold(model, input_shapes, folder)
    fold.forwards()
    fold.backwards()
    for name, reason in fold.reasons.items():
        log.warning("layer '%s' stays: %s", name, reason)
    norms = [layer.name for layer in fold.layers if layer.type in ("BN", "BatchNorm", "SyncBN")]
    if norms and not fold.folded:
        why = "; ".join(f"layer '{name}': {reason}" for name, reason in fold.reasons.items())
        raise GraphError(f"net '{model.net.name}': nothing can be folded: {why}")
    log.info("%d layers folded: %s", len(fold.folded), ", ".join(fold.folded) or "none")
    return fold.model()


class _Fold:
    """The layers of the TEST net, some of which go into others."""

    def __init__(self, model: Model, input_shapes: Mapping[str, Shape] | None, folder: Path | None) -> None:
        included, _ = partition(model.net.layer, net_state(model.net, "TEST"))
        net = NetParameter(name=model.net.name)
        net.layer.extend(without_splits(included))
        for layer in net.layer:
            for field in ("include", "exclude", "phase"):
                layer.ClearField(field)
        self.source = replace(model, net=net)
        shapes = common_shapes([self.source], "TEST", dict(input_shapes or {}), folders=[folder])[0]
        built = Net(self.source, "TEST", input_shapes=shapes, folder=folder).double().eval()
        steps = [(node, layer) for node, layer in built.steps if not _is_inserted(node.param)]
        self.objects: list[Layer] = [layer for _, layer in steps]
        inputs = {name: built.shapes[name] for name in built.input_names}
        known = infer_shapes(built.graph, [layer for _, layer in built.steps], inputs)
        self.sizes: list[list[Shape]] = [[known[blob] for blob in node.bottoms] for node, _ in steps]
        self.layers = list(net.layer)
        self.steps: list[Step] = steps_of(self.layers)
        self.alive = [True] * len(steps)
        self.maker = {value: index for index, step in enumerate(self.steps) for value in step.makes}
        self.readers: dict[Value, list[int]] = {value: [] for value in self.maker}
        for index, step in enumerate(self.steps):
            for value in step.reads:
                self.readers[value].append(index)
        self.reads = [list(step.reads) for step in self.steps]
        self.filters: dict[int, Filters] = {}
        self.reasons: dict[str, str] = {}
        self.folded: list[str] = []

    def forwards(self) -> None:
        """Fold what stands behind a filter bank into it, and take out what does nothing."""
        for index, layer in enumerate(self.layers):
            if layer.type == "Dropout" and not layer.dropout_param.sample_weights_test:
                self._take_out(index)
                continue
            affine = affine_of(self.objects[index], self.sizes[index])
            if isinstance(affine, str):
                self.reasons[layer.name] = affine
            elif affine is not None:
                self._fold_back(index, affine)

    def backwards(self) -> None:
        """Fold what stands before a filter bank into it."""
        for index in reversed(range(len(self.layers))):
            affine = affine_of(self.objects[index], self.sizes[index]) if self.alive[index] else None
            if isinstance(affine, Affine) and not affine.rectified:
                self._fold_ahead(index, affine)

    def model(self) -> Model:
        """What is left, with its weights."""
        net = NetParameter(name=self.source.net.name)
        weights: Weights = {}
        for index, layer in enumerate(self.layers):
            if not self.alive[index]:
                continue
            net.layer.append(layer)
            if index in self.filters:
                weights[layer.name] = self.filters[index].blobs()
            elif has_blobs(layer) and layer.name in self.source.weights:
                weights[layer.name] = self.source.weights[layer.name]
        return replace(self.source, net=net, weights=weights, forms={})

    def _fold_back(self, index: int, affine: Affine) -> None:
        layer, value = self.layers[index], self.reads[index][0]
        before = self.maker[value]
        reason = self._obstacle(before) or ("" if len(self.readers[value]) == 1 else "others read it too")
        if reason:
            self.reasons[layer.name] = f"it stands behind '{self.layers[before].name}': {reason}"
            return
        self._bank(before).behind(affine)
        self.reasons.pop(layer.name, None)
        self.folded.append(layer.name)
        if affine.rectified:
            self._rectify(index)
        else:
            self._join(before, index)

    def _fold_ahead(self, index: int, affine: Affine) -> None:
        layer, (value,) = self.layers[index], self.steps[index].makes
        readers = self.readers[value]
        if len(readers) != 1 or self._obstacle(readers[0]):
            return
        reader = readers[0]
        if not self._bank(reader).before(affine):
            self.reasons[layer.name] = f"it shifts what '{self.layers[reader].name}' pads with zeros"
            return
        self.reasons.pop(layer.name, None)
        self.folded.append(layer.name)
        self.alive[index] = False
        old = self.reads[index][0]
        self.reads[reader] = [old]
        self.readers[old] = [reader if each == index else each for each in self.readers[old]]
        self.layers[reader].bottom[0] = old[0]

    def _take_out(self, index: int) -> None:
        """Remove a layer that passes its bottom on, unless its bottom is an input, or others read that too."""
        value = self.reads[index][0]
        before = self.maker[value]
        if len(self.readers[value]) == 1 and self.reads[before]:
            self.folded.append(self.layers[index].name)
            self._join(before, index)

    def _join(self, before: int, index: int) -> None:
        """Let the layer `before` make what the layer `index` behind it made."""
        (old,), (new,) = self.reads[index], self.steps[index].makes
        place = next(place for place, name in enumerate(self.layers[before].top) if name == old[0])
        self.layers[before].top[place] = new[0]
        self.maker[new] = before
        self.alive[index] = False

    def _rectify(self, index: int) -> None:
        """Leave of a BatchNorm that rectifies the ReLU."""
        old = self.layers[index]
        self.layers[index] = LayerParameter(name=old.name, type="ReLU", bottom=old.bottom, top=old.top)

    def _obstacle(self, index: int) -> str:
        """Why nothing can be folded into a layer; empty where it can."""
        layer = self.layers[index]
        if filters_of(self.objects[index]) is None:
            return f"its type, {layer.type}, takes no factor and no shift"
        if len(layer.bottom) != 1 or len(layer.top) != 1:
            return "it has several bottoms"
        names = {spec.name for spec in layer.param if spec.name}
        others = (other for at, other in enumerate(self.layers) if at != index)
        sharing = next((other.name for other in others if names & {spec.name for spec in other.param}), "")
        return f"it shares its weights with '{sharing}'" if sharing else ""

    def _bank(self, index: int) -> Filters:
        """The filters of a layer, which from now on has a bias."""
        if index not in self.filters:
            found = filters_of(self.objects[index])
            assert found is not None
            self.filters[index] = found
            found.give_bias(self.layers[index])
        return self.filters[index]


def _is_inserted(param: Any) -> bool:
    return bool(param.type == "Split" and param.name.endswith("_split"))
