"""The text of a model.py while it is written: modules, statements, weights, and what each Caffe layer becomes."""

from __future__ import annotations

import builtins
import json
import keyword
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from caffe_compat.export.writers import Inexpressible, Writers
from caffe_compat.layers.base import Shape

_TAKEN = {*keyword.kwlist, *dir(builtins), *dir(torch.nn.Module()), "torch", "nn", "functional", "self", "blobs"}


@dataclass
class Names:
    """Python identifiers for Caffe's names, each name its own; `taken` are not given out."""

    taken: set[str] = field(default_factory=lambda: set(_TAKEN))
    given: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        if name not in self.given:
            self.given[name] = self.new(name)
        return self.given[name]

    def new(self, name: str) -> str:
        """An identifier as near to `name` as can be, that nobody has yet."""
        near = re.sub(r"\W", "_", name, flags=re.ASCII)
        near = f"_{near}" if not near or near[0].isdigit() else near
        found, count = near, 1
        while found in self.taken:
            count += 1
            found = f"{near}_" if count == 2 and f"{near}_" not in self.taken else f"{near}_{count}"
        self.taken.add(found)
        return found


@dataclass
class Source:
    """What stands so far.

    modules: attribute -> constructor. parameters: attribute of the model's own -> its shape; buffers: the same of what
    is not learned. state: key of the state dict -> array. statements: of the forward pass. functions: names of those of
    functions.py that it calls. ties: pairs of keys of parameters that are one, the later first. owners: name of a
    shared parameter -> its key.
    """

    modules: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, Shape] = field(default_factory=dict)
    buffers: dict[str, Shape] = field(default_factory=dict)
    state: dict[str, np.ndarray] = field(default_factory=dict)
    statements: list[str] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)
    ties: list[tuple[str, str]] = field(default_factory=list)
    owners: dict[str, str] = field(default_factory=dict)
    attributes: Names = field(default_factory=Names)


@dataclass
class Call:
    """One layer that is being written.

    name: the attribute of its module, should it have one. inputs, outputs: the variables of its bottoms and tops.
    bottoms, tops: their shapes.
    """

    source: Source
    layer: Any
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    bottoms: tuple[Shape, ...]
    tops: tuple[Shape, ...]

    def says(self, expression: str, top: int = 0) -> None:
        """The value of top `top` is `expression`; nothing is written where that is its variable already."""
        if expression != self.outputs[top]:
            self.source.statements.append(f"{self.outputs[top]} = {expression}")

    def module(self, constructor: str, **values: np.ndarray | int) -> str:
        """Make `constructor` the layer's module, whose state has `values` (an int: that blob of the layer); a call."""
        self.source.modules[self.name] = constructor
        for key, value in values.items():
            self._keep(f"{self.name}.{key}", value)
        return f"self.{self.name}"

    def applied(self, constructor: str, **values: np.ndarray | int) -> None:
        """The layer is one module, applied to each of its bottoms."""
        called = self.module(constructor, **values)
        for index, bottom in enumerate(self.inputs[: len(self.outputs)]):
            self.says(f"{called}({bottom})", index)

    def parameter(self, key: str, blob: int) -> str:
        """A parameter of the model itself, of the layer's blob `blob`; the expression that reads it."""
        attribute = self.source.attributes.new(f"{self.name}_{key}")
        self.source.parameters[attribute] = self.layer.blob_shapes[blob]
        self._keep(attribute, blob)
        return f"self.{attribute}"

    def buffer(self, key: str, values: np.ndarray) -> str:
        """An array of the model itself that is not learned; the expression that reads it."""
        attribute = self.source.attributes.new(f"{self.name}_{key}")
        self.source.buffers[attribute] = values.shape
        self._keep(attribute, values)
        return f"self.{attribute}"

    def function(self, name: str, *arguments: Any) -> str:
        """A call of one of functions.py."""
        self.source.functions.add(name)
        return f"{name}({', '.join(map(str, arguments))})"

    def blob(self, index: int) -> np.ndarray:
        """A learned blob in the layer's own shape, float32."""
        values: np.ndarray = self.layer.blob(index).detach().cpu().float().contiguous().numpy()
        return values

    def _keep(self, key: str, value: np.ndarray | int) -> None:
        specs = self.layer.param.param
        if isinstance(value, int):
            shared = specs[value].name if value < len(specs) else ""
            if shared and self.source.owners.setdefault(shared, key) != key:
                owner = self.source.owners[shared]
                if self.source.state[owner].shape != self.blob(value).shape:
                    raise Inexpressible(f"its blob {value} is shared with '{owner}', which has another shape")
                self.source.ties.append((key, owner))
            value = self.blob(value)
        self.source.state[key] = np.ascontiguousarray(value)


WRITERS: Writers[Call] = Writers()
writes = WRITERS.of


def options(**given: Any) -> str:
    """`given` as keyword arguments, those that are None left out."""
    return ", ".join(f"{name}={value!r}" for name, value in given.items() if value is not None)


def quoted(text: str) -> str:
    """`text` as a string literal of Python."""
    return json.dumps(text)


def one_or_all(sizes: Sequence[int]) -> int | tuple[int, ...]:
    """One number where all are the same, as people write it."""
    return sizes[0] if len(set(sizes)) == 1 else tuple(sizes)


def number(value: float) -> str:
    """A float32 field as people write it: the shortest decimal that is the same float32."""
    short = str(np.float32(value))
    return repr(int(value)) if float(value).is_integer() and abs(value) < 1e6 else short
