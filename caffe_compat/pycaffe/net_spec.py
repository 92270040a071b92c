"""`caffe.net_spec`: nets written in Python. `L.Convolution(bottom, num_output=8, kernel_size=3)` is a layer's top.

    n = NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 3, 8, 8]))
    n.conv = L.Convolution(n.data, num_output=8, kernel_size=3)
    print(n.to_proto())

Layers without a name of their own are called after their type and counted: ReLU1, ReLU2.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from caffe_compat.proto.schema import LayerParameter, NetParameter
from caffe_compat.pycaffe.proto import caffe_pb2

_NOT_FIELDS = {"ntop": 1, "in_place": False}  # keywords of a layer that are no fields of its message


def param_name_dict() -> dict[str, str]:
    """Layer type -> stem of its own message's field: "Convolution" -> "convolution"; of two, Caffe's comes first."""
    stems: dict[str, str] = {}
    for field in LayerParameter.DESCRIPTOR.fields:
        if field.name.endswith("_param") and field.message_type is not None:
            stems.setdefault(field.message_type.name.removesuffix("Parameter"), field.name.removesuffix("_param"))
    return stems


_param_names = param_name_dict()


def assign_proto(proto: Any, name: str, val: Any) -> None:
    """Set field `name` of a message: a dict fills a message, a list a repeated field, one value alone is a list of one.

    AttributeError for a field that is not there, TypeError for a value that does not fit, IndexError for an empty list.
    """
    current = getattr(proto, name)
    if hasattr(current, "extend") and not isinstance(val, list):
        val = [val]
    if isinstance(val, list) and isinstance(val[0], dict):
        for item in val:
            _fill(current.add(), item)
    elif isinstance(val, list):
        current.extend(val)
    elif isinstance(val, dict):
        _fill(current, val)
    else:
        setattr(proto, name, val)


def _fill(message: Any, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        assign_proto(message, name, value)


def to_proto(*tops: Any) -> Any:
    """The NetParameter of all layers that `tops` need, sources first."""
    return _net([top.fn for top in tops], {})


def _net(tops: Iterable[Any], names: dict[Any, str]) -> Any:
    layers: OrderedDict[Function, Any] = OrderedDict()
    counts: Counter[str] = Counter()
    for top in tops:
        top._to_proto(layers, names, counts)
    net = NetParameter()
    net.layer.extend(layers.values())
    return net


class Top:
    """Output number `n` of the layer `fn`."""

    def __init__(self, fn: Function, n: int) -> None:
        self.fn = fn
        self.n = n

    def to_proto(self) -> Any:
        """The NetParameter of all layers that this top needs."""
        return to_proto(self)

    def _to_proto(self, layers: Any, names: Any, autonames: Any) -> None:
        self.fn._to_proto(layers, names, autonames)


class Function:
    """A layer: its type, its bottoms (Tops of other layers) and its fields. TypeError for a bottom that is no Top."""

    def __init__(self, type_name: str, inputs: tuple[Any, ...], params: dict[str, Any]) -> None:
        for index, bottom in enumerate(inputs):
            if not isinstance(bottom, Top):
                raise TypeError(f"{type_name} input {index} is not a Top (type is {type(bottom)})")
        self.type_name = type_name
        self.inputs = inputs
        self.params = params
        self.ntop, self.in_place = (params.pop(name, default) for name, default in _NOT_FIELDS.items())
        self.tops = tuple(Top(self, n) for n in range(self.ntop))

    def _to_proto(self, layers: OrderedDict[Function, Any], names: dict[Any, str], autonames: Counter[str]) -> None:
        if self in layers:
            return
        layer = LayerParameter(type=self.type_name)
        for bottom in self.inputs:
            bottom._to_proto(layers, names, autonames)
            layer.bottom.append(layers[bottom.fn].top[bottom.n])
        if self.in_place:
            layer.top.extend(layer.bottom)
        else:
            layer.top.extend(self._name_of(top, names, autonames) for top in self.tops)
        layer.name = self._name_of(self.tops[0] if self.ntop else self, names, autonames)
        for name, value in self.params.items():
            self._assign(layer, name, value)
        layers[self] = layer

    def _name_of(self, one: Any, names: dict[Any, str], autonames: Counter[str]) -> str:
        """The name that `one`, this layer or a top of it, was given, or the next free one of its type."""
        if one not in names:
            autonames[self.type_name] += 1
            names[one] = f"{self.type_name}{autonames[self.type_name]}"
        return names[one]

    def _assign(self, layer: Any, name: str, value: Any) -> None:
        """Into the message of the layer's own type where that has the field, else into the layer itself."""
        stem = _param_names.get(self.type_name)
        if stem is not None and not name.endswith("param"):
            try:
                assign_proto(getattr(layer, f"{stem}_param"), name, value)
                return
            except (AttributeError, KeyError):
                pass
        assign_proto(layer, name, value)


class NetSpec:
    """Tops by name, set as attributes; `to_proto` gives the net that makes them all, blobs named as they are here.

    A name that was not set is a KeyError, by attribute too, as in pycaffe.
    """

    tops: OrderedDict[str, Any]

    def __init__(self) -> None:
        super().__setattr__("tops", OrderedDict())

    def __setattr__(self, name: str, value: Any) -> None:
        self.tops[name] = value

    def __getattr__(self, name: str) -> Any:
        if name in _OF_FORKS and name not in self.tops:
            return partial(_OF_FORKS[name], self)
        return self.tops[name]

    def __setitem__(self, key: str, value: Any) -> None:
        self.tops[key] = value

    def __getitem__(self, item: str) -> Any:
        return self.tops[item]

    def __delitem__(self, name: str) -> None:
        del self.tops[name]

    def to_proto(self) -> Any:
        """The NetParameter of all layers that the tops need."""
        return _net(self.tops.values(), {top: name for name, top in self.tops.items()})


def _update(spec: NetSpec, name: str, params: dict[str, Any]) -> None:
    spec.tops[name].fn.params.update(params)


# What SSD's NetSpec has beside BVLC's, while no top has that name
_OF_FORKS: dict[str, Callable[..., Any]] = {
    "keys": lambda spec: list(spec.tops),
    "vals": lambda spec: list(spec.tops.values()),
    "update": _update,
}


class Layers:
    """`layers.TYPE(*bottoms, **fields)` makes a layer: its top, a tuple of `ntop` tops, or with ntop=0 the Function."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def layer(*args: Any, **kwargs: Any) -> Any:
            made = Function(name, args, kwargs)
            return {0: made, 1: made.tops[0] if made.tops else made}.get(made.ntop, made.tops)

        return layer


class Parameters:
    """`params.Pooling.MAX` is the number of that value of an enum in PoolingParameter."""

    def __getattr__(self, name: str) -> Any:
        return _Values(name)


class _Values:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(caffe_pb2, f"{self._name}Parameter"), name)


layers = Layers()
params = Parameters()
