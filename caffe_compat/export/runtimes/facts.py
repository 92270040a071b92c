"""What is known of other runtimes: the rows of facts.tsv, seen with real ones, and those that concern a net.

Columns: road, "runtime:form"; version that showed it; effect; layer types, comma separated, * for all; when, a word of
the modules `conditions`; form, a word of the modules of `forms`, "-" where none is known; row of the table of
../shared/cases/runtimes, or name of the net there, that showed it, "-" where only a run of the runtime did; words.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from caffe_compat.errors import CaffeCompatError, DataError, GraphError
from caffe_compat.export.runtimes import conditions, conditions_of_onnx, conditions_of_windows
from caffe_compat.export.runtimes.place import CONDITIONS, Place, is_bank
from caffe_compat.export.runtimes.running import RUNTIMES, installed_version
from caffe_compat.graph.graph import Graph, build_graph
from caffe_compat.graph.hazards import find_hazards
from caffe_compat.layers.base import Context, Shape
from caffe_compat.layers.registry import loss_types
from caffe_compat.net.shapes import set_up_layers
from caffe_compat.proto.model import Model, ModelLike, as_model

WORDS = (conditions, conditions_of_onnx, conditions_of_windows)  # which put their words into CONDITIONS
EFFECTS = {
    "otherwise": "computes otherwise",
    "ignored": "ignores",
    "not-taken": "does not take",
    "not-tried": "was not tried with",
}


@dataclass(frozen=True)
class Fact:
    """One row of the table."""

    road: str
    version: str
    effect: str
    types: tuple[str, ...]
    when: str
    form: str
    row: str
    says: str

    def concerns(self, place: Place) -> bool:
        return (self.types == ("*",) or place.param.type in self.types) and CONDITIONS[self.when](place)


@dataclass(frozen=True)
class Known:
    """A fact that concerns a layer of a net. form: of what is written in its place, "" where none is known."""

    layer: str
    type: str
    road: str
    version: str
    effect: str
    says: str
    row: str
    form: str

    def __str__(self) -> str:
        title = RUNTIMES[self.road.partition(":")[0]].title
        way = f"; --for {self.road} writes another form" if self.form else "; no other form is known"
        way = "" if self.effect == "not-tried" else way
        where = "" if self.row in ("", "-") else f" ({'row' if self.row[0].isdigit() else 'case'} {self.row})"
        layer = f"layer '{self.layer}' ({self.type}): " if self.layer else ""
        return f"{layer}{title} {self.version} {EFFECTS[self.effect]}: {self.says}{where}{way}"


@cache
def facts() -> tuple[Fact, ...]:
    """All rows, in the table's order."""
    text = resources.files("caffe_compat.export.runtimes").joinpath("facts.tsv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    return tuple(
        Fact(
            row["road"],
            row["version"],
            row["effect"],
            tuple(row["type"].split(",")),
            row["when"],
            "" if row["form"] == "-" else row["form"],
            row["row"],
            row["says"],
        )
        for row in rows
    )


def versions_of(road: str) -> tuple[str, ...]:
    """The versions of which something is known, that which takes most of `road` first."""
    return tuple(dict.fromkeys(fact.version for fact in facts() if fact.road == road))


def known_version(road: str) -> str:
    """Whose facts hold here: of the installed version's series where there are some, else the first of the table."""
    known = versions_of(road)
    here = installed_version(road.partition(":")[0])
    same = [version for version in known if here and version.split(".")[0] == here.split(".")[0]]
    return (same or [*known, ""])[0]


def known_differences(
    model: ModelLike,
    road: str,
    input_shapes: Mapping[str, Shape] | None = None,
    folder: Path | None = None,
    version: str = "",
) -> list[Known]:
    """What `road` ("mnn:caffe") is known to compute otherwise, ignore or not take of the TEST net of `model`.

    Layer by layer, in the net's order. version: of the runtime, default `known_version`. Raises DataError where shapes
    are not known.
    """
    found = []
    for place, here, tried in _facts_by_place(as_model(model), road, input_shapes, folder, version):
        layer, kind = place.param.name, place.param.type
        found += [Known(layer, kind, road, each.version, each.effect, each.says, each.row, each.form) for each in here]
        if not tried:
            says = f"the type {kind}; what it does with that was not looked at"
            found.append(Known(layer, kind, road, version or known_version(road), "not-tried", says, "", ""))
    return found


def known_by_type(model: ModelLike, road: str) -> list[Known]:
    """The facts that concern layers by their type alone, for nets whose shapes are not known."""
    version = known_version(road)
    rows = [fact for fact in facts() if (fact.road, fact.version, fact.when) == (road, version, "always")]
    return [
        Known(layer.name, layer.type, road, version, fact.effect, fact.says, fact.row, fact.form)
        for layer in as_model(model).net.layer
        for fact in rows
        if layer.type in fact.types or fact.types == ("*",)
    ]


def first_forms(
    model: Model, road: str, input_shapes: Mapping[str, Shape] | None = None, folder: Path | None = None
) -> list[tuple[Place, Fact | None]]:
    """Every layer where it stands, with the first fact about it that has a form, None where there is none."""
    rows = _facts_by_place(model, road, input_shapes, folder, "")
    return [(place, next((fact for fact in here if fact.form), None)) for place, here, _ in rows]


def _facts_by_place(
    model: Model, road: str, input_shapes: Mapping[str, Shape] | None, folder: Path | None, version: str
) -> list[tuple[Place, list[Fact], bool]]:
    """Every layer with the facts that concern it, and whether its type was tried."""
    version = version or known_version(road)
    rows = [fact for fact in facts() if fact.road == road and fact.version == version]
    right = {kind for fact in rows if fact.effect == "right" for kind in fact.types}
    acting = [fact for fact in rows if fact.effect != "right"]
    found = []
    for place in places(model, input_shapes, folder):
        here = [fact for fact in acting if fact.concerns(place)]
        found.append((place, here, bool(here) or not right or place.param.type in right))
    return found


def places(model: Model, input_shapes: Mapping[str, Shape] | None = None, folder: Path | None = None) -> list[Place]:
    """Every layer of the TEST net of `model` where it stands, Splits that are not its own left out."""
    graph = build_graph(model.net, "TEST", loss_types=loss_types())
    try:
        with torch.device("meta"):  # shapes without memory or random numbers
            _, shapes = set_up_layers(graph, Context("TEST", folder=folder or model.folder), dict(input_shapes or {}))
    except DataError as error:
        raise DataError(f"{error}; give --input BLOB=SHAPE") from error
    except CaffeCompatError:
        raise
    except Exception as error:  # a layer that looks at values, of which there are none here
        raise GraphError(f"net '{model.net.name}': shapes cannot be told without values: {error}") from error
    own = {layer.name for layer in model.net.layer if layer.type == "Split"}
    nodes = [node for node in graph.nodes if node.param.type != "Split" or node.name in own]
    hazards = find_hazards(graph.nodes).by_number
    lost = {id(graph.nodes[number]) for number, hazard in hazards.items() if any(on for _, on in hazard.notes)}
    layers = [_with_own_names(node.param, graph, own) for node in nodes]
    banks = tuple((top, each.name) for each in layers if is_bank(each) for top in each.top)
    names = tuple(each.name for each in layers if not is_bank(each) and each.type != "Input")
    read = {bottom for each in layers if each.type != "Silence" for bottom in each.bottom}
    twins = twins_of(layers, graph.outputs)
    return [
        Place(
            layer,
            tuple(shapes[blob] for blob in node.bottoms),
            tuple(shapes[blob] for blob in node.tops),
            frozenset(number for number, top in enumerate(layer.top) if top in read),
            frozenset(graph.outputs),
            banks,
            names,
            id(node) in lost,
            twin,
        )
        for node, layer, twin in zip(nodes, layers, twins, strict=True)
    ]


def twins_of(layers: Sequence[Any], outputs: Collection[str]) -> list[bool]:
    """Of each layer, whether an earlier one is made alike of the same values and one of the two is an output.

    Layers of several tops, of tops that others have too, and of blobs with settings, have no twins.
    """
    tops = Counter(top for layer in layers for top in layer.top)
    values: dict[str, Any] = {}
    makers: dict[Any, str] = {}
    found = []
    for number, layer in enumerate(layers):
        bare = type(layer)()
        bare.CopyFrom(layer)
        for field in ("name", "bottom", "top", "phase"):
            bare.ClearField(field)
        plain = layer.bottom and len(layer.top) == 1 and tops[layer.top[0]] == 1 and not layer.param
        key = (bare.SerializeToString(), *(values.get(blob, blob) for blob in layer.bottom)) if plain else number
        earlier = makers.setdefault(key, layer.top[0] if layer.top else "")
        values.update((top, key if plain else (number, top)) for top in layer.top)
        found.append(earlier not in layer.top and bool({earlier, *layer.top} & set(outputs)))
    return found


def _with_own_names(param: Any, graph: Graph, own: set[str]) -> Any:
    """The layer with the names of its bottoms as the prototxt has them, not of the copies that Splits make."""
    copies = {
        top.name: node.bottoms[0].name
        for node in graph.nodes
        if node.param.type == "Split" and node.name not in own and node.bottoms
        for top in node.tops
    }
    layer = type(param)()
    layer.CopyFrom(param)
    layer.bottom[:] = [copies.get(name, name) for name in param.bottom]
    return layer
