"""Caffe's layer registry: type name -> class."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, TypeVar

from caffe_compat.errors import UnsupportedLayerError
from caffe_compat.layers.base import Context, Layer

LayerClass = TypeVar("LayerClass", bound=type[Layer])

_classes: dict[str, type[Layer]] = {}


def register(type_name: str) -> Callable[[LayerClass], LayerClass]:
    """Class decorator: make the class the layer of Caffe type `type_name`."""

    def add(layer_class: LayerClass) -> LayerClass:
        if type_name in _classes:
            raise ValueError(f"layer type '{type_name}' is registered twice")
        _classes[type_name] = layer_class
        return layer_class

    return add


_variants: dict[str, Callable[[Any], type[Layer] | None]] = {}


def variant(type_name: str) -> Callable[[Callable[[Any], type[Layer] | None]], Callable[[Any], type[Layer] | None]]:
    """Decorator of a function that gives, for a LayerParameter of that type, a fork's class, or None for Caffe's."""

    def add(choose: Callable[[Any], type[Layer] | None]) -> Callable[[Any], type[Layer] | None]:
        _variants[type_name] = choose
        return choose

    return add


def known_types() -> list[str]:
    """Every registered Caffe type name, sorted."""
    return sorted(_classes)


def loss_types() -> frozenset[str]:
    """The registered types that are losses: their first top counts by default, and may be left out."""
    return frozenset(name for name, layer in _classes.items() if layer.default_loss_weight)


def layer_class(param: Any) -> type[Layer]:
    """The class for a LayerParameter; UnsupportedLayerError names the nearest known type."""
    found = _classes.get(param.type)
    if found is None:
        spelled = {
            name.lower(): name for name in _classes
        }  # Caffe's mixed case is the usual slip: Relu, Softmaxwithloss
        near = difflib.get_close_matches(param.type.lower(), spelled, n=1)
        hint = f"did you mean '{spelled[near[0]]}'? " if near else ""
        raise UnsupportedLayerError(
            f"layer '{param.name}' has type '{param.type}', which is not known; {hint}known: {', '.join(known_types())}"
        )
    chosen = _variants[param.type](param) if param.type in _variants else None
    return chosen or found


def create_layer(param: Any, context: Context) -> Layer:
    """The layer of a LayerParameter, not yet set up."""
    return layer_class(param).choose(param, context.folder)(param, context)
