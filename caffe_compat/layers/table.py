"""The table of layer types, types.tsv: where each one's class is, and what is known of it without importing that."""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from importlib import resources
from typing import Any

SEVERAL_TOPS = "top>1"  # what stands among the fields of a variant that is chosen where a layer has several tops


@dataclass(frozen=True)
class Variant:
    """A module with a fork's class, which is asked where a message gives one of the `fields`.

    A field is a path, "convolution_param.relu", with =VALUE behind it where only that value counts, or SEVERAL_TOPS.
    """

    module: str
    fields: tuple[str, ...]

    def concerns(self, param: Any) -> bool:
        """Whether the LayerParameter `param` gives one of the fields."""
        return any(_given(param, field) for field in self.fields)


def _given(param: Any, field: str) -> bool:
    if field == SEVERAL_TOPS:
        return len(param.top) > 1
    path, _, value = field.partition("=")
    *messages, last = path.split(".")
    for name in messages:
        if not param.HasField(name):
            return False
        param = getattr(param, name)
    return bool(param.HasField(last)) and (not value or str(getattr(param, last)) == value)


@dataclass(frozen=True)
class LayerType:
    """One type. module: below caffe_compat.layers. class_name: the class in it. whose: where its semantics come from.

    is_loss: whether its first top counts by default. in_place: whether the top may have the name of the bottom.
    forward: "computed", "shapes" (it is built and does not run) or "given" (the user gives the values).
    backward: "derivative", "own" (as its fork's Backward says, which is not the derivative) or "none".
    onnx: whether it is written as ONNX. exact: what its numbers are compared with, and the test.
    source: the first line of its module's docstring, which names fork and file.
    """

    type: str
    module: str
    class_name: str
    whose: str
    is_loss: bool
    in_place: bool
    forward: str
    backward: str
    onnx: bool
    exact: str
    variants: tuple[Variant, ...]
    source: str


@functools.cache
def layer_types() -> dict[str, LayerType]:
    """Every type of the package by its name, sorted, from types.tsv."""
    text = resources.files(__package__).joinpath("types.tsv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines()[1:], delimiter="\t")
    return {row["type"]: parse(row) for row in rows}


def parse(row: dict[str, str]) -> LayerType:
    """The type of a line of the table, by its column."""
    values: dict[str, Any] = dict(row)
    for name in ("is_loss", "in_place", "onnx"):
        values[name] = row[name] == "yes"
    variants = (each.split("?") for each in row["variants"].split())
    values["variants"] = tuple(Variant(module, tuple(fields.split("|"))) for module, fields in variants)
    return LayerType(**values)


def row(kind: LayerType) -> dict[str, str]:
    """The line of the table for a type, by its column."""
    words = {name: getattr(kind, name) for name in LayerType.__dataclass_fields__}
    variants = " ".join(f"{each.module}?{'|'.join(each.fields)}" for each in kind.variants)
    facts = {name: "yes" if value else "no" for name, value in words.items() if isinstance(value, bool)}
    return {**words, **facts, "variants": variants}
