"""Caffe's layer registry: type name -> class, imported when the type is first asked for."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable, Iterator, Set
from typing import Any, TypeVar

from caffe_compat import plugins
from caffe_compat.errors import PluginError, UnsupportedLayerError
from caffe_compat.layers.base import Context, Layer
from caffe_compat.layers.table import LayerType, Variant, layer_types

LayerClass = TypeVar("LayerClass", bound=type[Layer])
Choose = Callable[[Any], type[Layer] | None]

_HOME = "caffe_compat.layers."
# Types that files carry and engines list, but that no fork of Caffe is known to register
_UNKNOWABLE = {
    "MaxUnpooling": "no fork of Caffe is known that registers it, so that nobody can say what it computes; MaxUnPool "
    "(max_unpool_param, inisis/caffe) and Upsample (upsample_param, SegNet) put values where a mask of MAX pooling "
    "says: rename it if it is one of them",
}
_classes: dict[str, type[Layer]] = {}
_choosers: dict[str, list[tuple[Variant, Choose]]] = {}


def register_layer(type_name: str) -> Callable[[LayerClass], LayerClass]:
    """Class decorator: make the class the layer of Caffe type `type_name`.

    PluginError where another class has that type already, or the class is no layer; the same class, defined anew, takes
    its own place.
    """

    def add(layer_class: LayerClass) -> LayerClass:
        _check_class(type_name, layer_class)
        home = _home(layer_class)
        first = _home(_classes[type_name]) if type_name in _classes else home
        if type_name not in _classes and not home.startswith(_HOME) and type_name in layer_types():
            first = f"{_HOME}{layer_types()[type_name].module}.{layer_types()[type_name].class_name}"
        if first != home:
            raise PluginError(f"layer type '{type_name}' is registered twice: as {first} and as {home}; rename one")
        _classes[type_name] = layer_class
        return layer_class

    return add


register = register_layer  # as the package's own modules write it


def _check_class(type_name: str, layer_class: Any) -> None:
    """PluginError where a class lacks what a layer must have."""
    if not (isinstance(layer_class, type) and issubclass(layer_class, Layer)):
        raise PluginError(f"layer type '{type_name}': {layer_class!r} is no class that derives from caffe_compat.Layer")
    for name in ("bottoms", "tops"):
        count = getattr(layer_class, name)
        if not hasattr(count, "__contains__"):
            raise PluginError(f"layer type '{type_name}': {name} is {count!r}; wanted a Count(least, most)")


def _home(layer_class: type[Layer]) -> str:
    return f"{layer_class.__module__}.{layer_class.__qualname__}"


def variant(type_name: str, *fields: str) -> Callable[[Choose], Choose]:
    """Decorator of a function that gives, for a LayerParameter of that type, a fork's class, or None for Caffe's.

    It is asked where the message gives one of the `fields` (see Variant).
    """

    def add(choose: Choose) -> Choose:
        module = choose.__module__.removeprefix(_HOME)
        _choosers.setdefault(type_name, []).append((Variant(module, fields), choose))
        return choose

    return add


def known_types() -> list[str]:
    """Every Caffe type name of the package and of the plugins that are imported, sorted."""
    return sorted({*layer_types(), *_classes})


class LossTypes(Set[str]):
    """The types that are losses: their first top counts by default, and may be left out.

    Whether a type that the package has not is one of them is asked of the plugins.
    """

    def __contains__(self, type_name: object) -> bool:
        entry = layer_types().get(str(type_name))
        if entry is not None:
            return entry.is_loss
        found = find_class(str(type_name))
        return found is not None and found.default_loss_weight != 0

    def __iter__(self) -> Iterator[str]:
        return (name for name in known_types() if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def loss_types() -> LossTypes:
    """The types that are losses: their first top counts by default, and may be left out."""
    return LossTypes()


def find_class(type_name: str) -> type[Layer] | None:
    """The class of a type, its module or plugin imported now if need be; None for one that nobody has."""
    if type_name not in _classes:
        if type_name in layer_types():
            importlib.import_module(_HOME + layer_types()[type_name].module)
        elif plugins.load(plugins.LAYERS, type_name) is None:
            plugins.load_all(plugins.LAYERS)
        elif type_name not in _classes:
            raise PluginError(f"plugin '{type_name}': its module registers no layer type of that name")
    return _classes.get(type_name)


def layer_class(param: Any) -> type[Layer]:
    """The class for a LayerParameter; UnsupportedLayerError names the nearest known type."""
    found = find_class(param.type)
    if found is None:
        raise UnsupportedLayerError(f"layer '{param.name}' has type '{param.type}', which is not known; {_hint(param)}")
    entry = layer_types().get(param.type)
    for each in entry.variants if entry else ():
        if each.concerns(param):
            importlib.import_module(_HOME + each.module)
    choices = (choose(param) for each, choose in _choosers.get(param.type, ()) if each.concerns(param))
    return next(filter(None, choices), found)


def _hint(param: Any) -> str:
    """What type may be meant, which there are, and which plugins could not be imported."""
    if param.type in _UNKNOWABLE:
        return _UNKNOWABLE[param.type]
    # Caffe's mixed case is the usual slip: Relu, Softmaxwithloss
    spelled = {name.lower(): name for name in known_types()}
    near = difflib.get_close_matches(param.type.lower(), spelled, n=1)
    meant = f"did you mean '{spelled[near[0]]}'? " if near else ""
    faults = "".join(f"{fault}; " for fault in plugins.load_all(plugins.LAYERS))
    return f"{meant}{faults}known: {', '.join(known_types())}"


def registered() -> dict[str, type[Layer]]:
    """The types whose modules are imported, with their classes."""
    return dict(_classes)


def choosers(type_name: str) -> list[tuple[Variant, Choose]]:
    """The variants of a type whose modules are imported."""
    return list(_choosers.get(type_name, ()))


def plugin_layer_types() -> tuple[dict[str, LayerType], tuple[str, ...]]:
    """The types that plugins add, whose modules are imported for it; and what is wrong with those that cannot be."""
    faults = plugins.load_all(plugins.LAYERS)
    return {name: _facts(name, kind) for name, kind in sorted(_classes.items()) if name not in layer_types()}, faults


def _facts(name: str, kind: type[Layer]) -> LayerType:
    """What the table would say of a plugin's type."""
    whose, loss = f"plugin {kind.__module__.partition('.')[0]}", bool(kind.default_loss_weight)
    source = (sys.modules[kind.__module__].__doc__ or "").partition("\n")[0]
    return LayerType(
        name, kind.__module__, kind.__name__, whose, loss, kind.works_in_place, "computed", kind.gradient, onnx=False,
        exact="", variants=(), source=source,
    )  # fmt: skip


def create_layer(param: Any, context: Context) -> Layer:
    """The layer of a LayerParameter, not yet set up."""
    return layer_class(param).choose(param, context.folder)(param, context)
