"""A net rewritten so that a runtime computes it right: layer by layer, until no known fact concerns one."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from caffe_compat.errors import UnsupportedLayerError, WeightsError
from caffe_compat.export.runtimes.facts import first_forms, known_differences
from caffe_compat.export.runtimes.place import Place
from caffe_compat.export.runtimes.running import RUNTIMES
from caffe_compat.layers.base import Shape
from caffe_compat.proto.model import Model, ModelLike, as_model
from caffe_compat.proto.schema import LayerParameter

log = logging.getLogger(__name__)

ROUNDS = 12  # a form may bring layers that want a form of their own; none of them brings itself

Blobs = tuple[np.ndarray, ...]


class Inexpressible(Exception):
    """Why a layer has no form for a runtime after all."""


@dataclass
class Draft:
    """What stands in the place of one layer, while a form writes it.

    place: the layer and its shapes. bottoms, tops: names of its blobs here. blobs: what it learned. taken: names that
    are not free. layers, weights: what is written so far.
    """

    place: Place
    bottoms: list[str]
    tops: list[str]
    blobs: Blobs
    taken: set[str]
    layers: list[Any] = field(default_factory=list)
    weights: dict[str, Blobs] = field(default_factory=dict)

    @property
    def shape(self) -> Shape:
        """Of the first bottom."""
        return self.place.bottoms[0]

    @property
    def result(self) -> Shape:
        """Of the first top."""
        return self.place.tops[0]

    def same(self, blobs: Blobs | None = None) -> Any:
        """Put down the layer itself, whose fields the form then changes; with `blobs` for its own."""
        layer = LayerParameter()
        layer.CopyFrom(self.place.param)
        layer.bottom[:], layer.top[:] = self.bottoms, self.tops
        layer.ClearField("phase")
        if blobs is not None:
            for spec in layer.param:
                spec.ClearField("name")  # a blob of another shape is nobody else's
        self.layers.append(layer)
        if blobs is not None or self.blobs:
            self.weights[layer.name] = self.blobs if blobs is None else blobs
        return layer

    def add(
        self, kind: str, bottoms: str | Sequence[str], last: bool = False, blobs: Blobs = (), word: str = ""
    ) -> tuple[Any, str]:
        """Put down a layer of type `kind`; it, and the name of its top: the first top of the place where `last`."""
        name = self.free(f"{self.place.param.name}_{word or kind.lower()}")
        top = self.tops[0] if last else name
        layer = LayerParameter(
            name=name, type=kind, bottom=[bottoms] if isinstance(bottoms, str) else bottoms, top=[top]
        )
        self.layers.append(layer)
        if blobs:
            self.weights[name] = tuple(np.ascontiguousarray(blob, np.float32) for blob in blobs)
        return layer, top

    def power(self, bottom: str, last: bool = False, power: float = 1, scale: float = 1, shift: float = 0) -> str:
        """(shift + scale x)^power of `bottom`; its top."""
        layer, top = self.add("Power", bottom, last)
        fields = layer.power_param
        for key, value, usual in (("power", power, 1), ("scale", scale, 1), ("shift", shift, 0)):
            if value != usual:
                setattr(fields, key, value)
        return top

    def reshape(self, bottom: str, shape: Sequence[int], last: bool = False) -> str:
        """`bottom` in another shape; its top."""
        layer, top = self.add("Reshape", bottom, last)
        layer.reshape_param.shape.SetInParent()  # of a scalar it has no sizes
        layer.reshape_param.shape.dim[:] = shape
        return top

    def free(self, name: str) -> str:
        """A name like `name` that nobody has."""
        others = (f"{name}_{number}" for number in itertools.count(2))
        found = next(free for free in itertools.chain([name], others) if free not in self.taken)
        self.taken.add(found)
        return found


Form = Callable[[Draft], None]
FORMS: dict[str, Form] = {}


def form(name: str) -> Callable[[Form], Form]:
    """Register the function below as what writes the form `name` of facts.tsv."""

    def add(function: Form) -> Form:
        FORMS[name] = function
        return function

    return add


def for_runtime(
    model: ModelLike, road: str, input_shapes: Mapping[str, Shape] | None = None, folder: Path | None = None
) -> Model:
    """A model that computes the same and that `road` ("mnn:caffe") computes right, as far as is known.

    Outputs keep their names, values are equal to rounding; layers that are right already stay as they are. Raises
    UnsupportedLayerError naming every layer that has no such form, WeightsError where one that changes has no weights.
    A layer that was not tried with the runtime stays, and a warning says so.
    """
    import caffe_compat.export.runtimes.forms  # noqa: F401 (registers them)

    made = as_model(model)
    for each in known_differences(made, road, input_shapes, folder):
        if each.effect == "not-tried":
            log.warning("%s", each)
    for _ in range(ROUNDS):
        found = [each for each in known_differences(made, road, input_shapes, folder) if each.effect != "not-tried"]
        left = [each for each in found if not each.form]
        if left or not found:
            break
        made = _rewritten(made, road, input_shapes, folder)
    else:
        left = found
    if left:
        raise UnsupportedLayerError(f"net '{made.net.name}': {'; '.join(map(str, left))}")
    return made


def _rewritten(model: Model, road: str, input_shapes: Mapping[str, Shape] | None, folder: Path | None) -> Model:
    """`model` with one form applied to each layer that a fact with a form concerns."""
    wanted = first_forms(model, road, input_shapes, folder)
    layers = [place.param for place, _ in wanted]
    for layer in layers:
        layer.ClearField("phase")
    net = type(model.net)()
    net.CopyFrom(model.net)
    del net.layer[:]
    known = {layer.name: blobs for layer in layers if (blobs := _blobs(layer, model.weights, layers))}
    weights: dict[str, Any] = {**model.weights, **known}
    taken = {name for layer in layers for name in (layer.name, *layer.top)}
    written: list[Any] = []
    for number, (place, fact) in enumerate(wanted):
        layer = layers[number]
        if fact is None:
            written.append(layer)
            continue
        draft = _draft(fact.form, place, layer, known.get(layer.name, ()), taken)
        if len(draft.layers) > 1 and set(layer.top) & set(layer.bottom):
            _tell_apart(layer, written, layers[number + 1 :], taken)
            draft = _draft(fact.form, place, layer, known.get(layer.name, ()), taken)
        log.info("layer '%s' (%s) is written as %s for %s", layer.name, layer.type,
                 " + ".join(each.type for each in draft.layers), RUNTIMES[road.partition(":")[0]].title)  # fmt: skip
        weights = {name: blobs for name, blobs in weights.items() if name != layer.name or _others(layers, layer)}
        written += draft.layers
        weights.update(draft.weights)
    net.layer.extend(written)
    return replace(model, net=net, weights=weights, forms={})


def _draft(name: str, place: Place, layer: Any, blobs: Blobs, taken: set[str]) -> Draft:
    draft = Draft(place, list(layer.bottom), list(layer.top), blobs, set(taken))
    try:
        FORMS[name](draft)
    except Inexpressible as error:
        raise UnsupportedLayerError(f"layer '{layer.name}' ({layer.type}): no other form is known: {error}") from None
    taken |= {each.name for each in draft.layers} | {top for each in draft.layers for top in each.top}
    return draft


def _blobs(layer: Any, weights: Mapping[str, Any], layers: Sequence[Any]) -> Blobs:
    """What `layer` learned; of what it shares, what the others have."""
    if layer.name in weights:
        return tuple(weights[layer.name])
    shared = {spec.name for spec in layer.param if spec.name}
    for other in layers:
        if shared & {spec.name for spec in other.param} and other.name in weights:
            return tuple(weights[other.name])
    return ()


def _others(layers: Sequence[Any], layer: Any) -> bool:
    """Whether another layer has the name of `layer`."""
    return bool(sum(each.name == layer.name for each in layers) > 1)


def _tell_apart(layer: Any, before: Sequence[Any], after: Sequence[Any], taken: set[str]) -> None:
    """Give the blob that `layer` overwrites another name than what it makes.

    The earlier one is renamed, unless it is an input of the net; then the later one.
    """
    for name in set(layer.top) & set(layer.bottom):
        is_input = any(each.type == "Input" and name in each.top for each in before)
        new = next(free for free in (f"{name}_{n}" for n in itertools.count(2)) if free not in taken)
        taken.add(new)
        if is_input:
            layer.top[:] = [new if each == name else each for each in layer.top]
        else:
            layer.bottom[:] = [new if each == name else each for each in layer.bottom]
        for each in after if is_input else before:
            each.bottom[:] = [new if blob == name else blob for blob in each.bottom]
            each.top[:] = [new if blob == name else blob for blob in each.top]


def needed_blobs(draft: Draft, count: int) -> Blobs:
    """The layer's blobs; WeightsError where it has fewer than `count`."""
    if len(draft.blobs) < count:
        raise WeightsError(f"layer '{draft.place.param.name}' has no weights, which its other form is made of")
    return draft.blobs
