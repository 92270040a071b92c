"""What surgery gives: the rewritten model, and how its inputs correspond to those of the original."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any, ParamSpec

import numpy as np

from caffe_compat.errors import GraphError
from caffe_compat.proto.model import Model
from caffe_compat.proto.pixels import Pixels

Arrays = Mapping[str, np.ndarray]
_Given = ParamSpec("_Given")


def same(arrays: Arrays) -> Arrays:
    """Inputs that both models take as they are."""
    return arrays


@dataclass(frozen=True)
class Operation:
    """model: rewritten. to_original: its inputs, by blob -> what the original is fed to give the same blobs.

    what: the rewrite in a line. incomparable: why the blobs of the two cannot be held against each other, or "".
    call: what a certificate keeps so that it can be done again, {"operation": name of its function, argument: value}.
    """

    model: Model
    what: str
    to_original: Callable[[Arrays], Arrays] = same
    incomparable: str = ""
    call: Mapping[str, Any] = field(default_factory=dict)


def recorded(function: Callable[_Given, Operation]) -> Callable[_Given, Operation]:
    """`function`, whose operations say how it was called; its first argument is the model."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def operate(*given: _Given.args, **named: _Given.kwargs) -> Operation:
        bound = signature.bind(*given, **named)
        bound.apply_defaults()
        told = {name: _plain(value) for name, value in list(bound.arguments.items())[1:]}
        return replace(function(*given, **named), call={"operation": function.__name__, **told})

    return operate


def _plain(value: Any) -> Any:
    """`value` in what JSON has."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str):
        return [_plain(each) for each in value]
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value


def input_blob(model: Model, blob: str = "") -> str:
    """`blob`, which must be the top of a layer without bottoms; by default the first such top. Raises GraphError."""
    tops = [top for layer in model.net.layer if not layer.bottom for top in layer.top]
    if not tops:
        raise GraphError(f"net '{model.net.name}' has no input")
    if blob and blob not in tops:
        raise GraphError(f"net '{model.net.name}' has no input '{blob}'; its inputs: {', '.join(dict.fromkeys(tops))}")
    return blob or tops[0]


def copied(model: Model) -> Model:
    """A model that may be changed: its message is a copy, its weights are in a dictionary of their own."""
    net = type(model.net)()
    net.CopyFrom(model.net)
    return replace(model, net=net, weights=dict(model.weights), pixels=dict(model.pixels))


def with_pixels(model: Model, blob: str, change: Callable[[Pixels], Pixels | None]) -> Model:
    """`model` with what it tells of the pixels of `blob` changed, or left out where nothing true can be told."""
    changed = change(model.pixels[blob]) if blob in model.pixels else None
    others = {name: each for name, each in model.pixels.items() if name != blob}
    return replace(model, pixels={**others, blob: changed} if changed else others)
