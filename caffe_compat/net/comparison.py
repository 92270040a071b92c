"""Two nets on the same inputs, or a net and a dump of blobs: how far apart each blob is, and where that begins."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caffe_compat.errors import DataError, GraphError
from caffe_compat.graph.graph import build_graph
from caffe_compat.layers.base import Context, Shape
from caffe_compat.layers.registry import loss_types
from caffe_compat.net.inputs import complete_inputs
from caffe_compat.net.net import Net
from caffe_compat.net.sources import refuse_unknown_inputs, shapes_of_source
from caffe_compat.progress import doing, in_steps
from caffe_compat.proto.model import Model

Arrays = Mapping[str, Any]
_HEADER = ("blob", "layer", "shape", "max absolute", "max relative", "")


@dataclass(frozen=True)
class BlobDifference:
    """One blob of both sides.

    layer: the last that makes it, in the first net. absolute: the largest difference; infinite where shapes differ or
    only one side is not a number. relative: that over the largest value of the first side.
    """

    blob: str
    layer: str
    shape: Shape
    other_shape: Shape
    absolute: float
    relative: float


@dataclass(frozen=True)
class BlobComparison:
    """All blobs that both sides have, in the order in which the first net makes them. print() gives a table."""

    blobs: tuple[BlobDifference, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    tolerance: float

    @property
    def first_divergence(self) -> BlobDifference | None:
        """The first blob whose relative difference is above the tolerance; None where there is none."""
        return next((blob for blob in self.blobs if not blob.relative <= self.tolerance), None)

    def to_json(self) -> str:
        """As a JSON object, with `equal` and `first_divergence` beside the fields."""
        first = self.first_divergence
        summary = {"equal": first is None, "first_divergence": first.blob if first else None}
        return json.dumps({**summary, **asdict(self)}, indent=2, ensure_ascii=False)

    def __str__(self) -> str:
        first = self.first_divergence
        rows = [_HEADER, *(self._row(blob, blob is first) for blob in self.blobs)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = []
        for row in rows:
            cells = [
                c.rjust(w) if i in (3, 4) else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        for side, names in (("first", self.only_first), ("second", self.only_second)):
            if names:
                lines.append(f"only in the {side}: {', '.join(names)}")
        return "\n".join([*lines, self._verdict(first)])

    def _row(self, blob: BlobDifference, is_first: bool) -> tuple[str, ...]:
        shapes = ["x".join(map(str, shape)) or "()" for shape in dict.fromkeys((blob.shape, blob.other_shape))]
        mark = "first divergence" if is_first else "" if blob.relative <= self.tolerance else "differs"
        return blob.blob, blob.layer, " / ".join(shapes), f"{blob.absolute:.3g}", f"{blob.relative:.3g}", mark

    def _verdict(self, first: BlobDifference | None) -> str:
        if first is None:
            return f"{len(self.blobs)} blobs are equal within {self.tolerance:g} of their largest value"
        worse = sum(not blob.relative <= self.tolerance for blob in self.blobs)
        return (
            f"{worse} of {len(self.blobs)} blobs differ by more than {self.tolerance:g} of their largest value, "
            f"from '{first.blob}' of layer '{first.layer}' on"
        )


def compare_blobs(
    net: Net, other: Net | Arrays, inputs: Arrays | None = None, tolerance: float = 1e-4, seed: int = 0
) -> BlobComparison:
    """Run `net`, and `other` if it is one, on the same inputs and compare all blobs of the same names.

    other: a net, or arrays by blob name, such as those of an .npz file. inputs: by blob name; what is not given comes
    from the arrays, or is drawn from `seed` as the layers take it (`valid_inputs`). An in-place layer counts with what
    it leaves. Raises GraphError where the two have no input or no other blob in common.
    """
    arrays = {} if isinstance(other, Net) else dict(other)
    names = [name for name in net.input_names if name in (other.input_names if isinstance(other, Net) else arrays)]
    fed: dict[str, Any] = {name: arrays[name] for name in names if name in arrays}
    if isinstance(other, Net):
        fed.update(complete_inputs(net, inputs or {}, seed, names))
    fed.update(inputs or {})
    if not fed:
        raise GraphError(
            f"net '{net.graph.name}': no input in common, and none given; "
            f"give {', '.join(net.input_names) or 'the nets an Input'} in an .npz file with --inputs"
        )
    with doing("running the first net"):
        first = run_blobs(net, fed, seed)
    second: Arrays = arrays
    if isinstance(other, Net):
        with doing("running the second net"):
            second = run_blobs(other, {name: value for name, value in fed.items() if name in other.input_names}, seed)
    return _compared(net, first, second, set(fed), tolerance)


def run_blobs(net: Net, inputs: Arrays, seed: int = 0) -> dict[str, np.ndarray]:
    """Every blob that follows from `inputs`, by name, Splits left out; what a layer draws follows from `seed`."""
    torch.manual_seed(seed)
    with torch.no_grad():
        blobs = net.blobs(**inputs)
    copies = split_copies(net)
    return {name: blob.cpu().numpy() for name, blob in blobs.items() if name not in copies}


def split_copies(net: Net) -> set[str]:
    """The names of the blobs that Splits make, which a reader of the prototxt does not know."""
    return {top.name for node in net.graph.nodes if node.param.type == "Split" for top in node.tops}


def common_shapes(
    models: Sequence[Model],
    phase: str,
    given: Mapping[str, Shape],
    level: int = 0,
    stages: Iterable[str] = (),
    folders: Sequence[Path | None] = (),
) -> list[dict[str, Shape]]:
    """For each model the input shapes with which its net can be built although data is not here.

    What is `given` counts first, then what an Input of any of the models declares for the same blob, then what the
    net itself tells. For labels beside such a blob: its batch. Data is also looked for in `folders`, one a model.
    """
    refuse_unknown_inputs(models, given)
    graphs = [build_graph(model.net, phase, level, tuple(stages), loss_types()) for model in models]
    sources = [[node.param for node in graph.nodes if not node.bottoms] for graph in graphs]
    contexts = [Context(phase, folder=folder) for folder in folders or [None] * len(models)]
    known: dict[str, Shape] = {}
    for param in (each for layers in sources for each in layers if each.type == "Input"):
        shapes = [tuple(shape.dim) for shape in param.input_param.shape]
        known.update(zip(param.top, shapes * len(param.top) if len(shapes) == 1 else shapes, strict=False))
    known.update(given)
    return [
        {name: shape for param in layers for name, shape in _shapes_of(model, param, context, known, given).items()}
        for model, layers, context in zip(models, sources, contexts, strict=True)
    ]


def _shapes_of(
    model: Model, param: Any, context: Context, known: Mapping[str, Shape], given: Mapping[str, Shape]
) -> dict[str, Shape]:
    if param.type in ("Input", "DummyData", "Parameter"):
        return {top: given[top] for top in param.top if top in given}
    own = {top: known[top] for top in param.top if top in known}
    if own:
        batch = next(iter(own.values()))[0]
        return {top: own.get(top, (batch,)) for top in param.top}
    return shapes_of_source(model, param, context)


def _compared(net: Net, first: Arrays, second: Arrays, fed: set[str], tolerance: float) -> BlobComparison:
    last = net.graph.last_versions()
    tops = [(node.name, top) for node in net.graph.nodes for top in node.tops if last[top.name] == top]
    makers = {top.name: layer for layer, top in tops}
    ordered = list(makers)
    names = [name for name in ordered if name in first and name not in fed]
    both = [name for name in names if name in second]
    if not both:
        raise GraphError(f"net '{net.graph.name}': no blob has a name of the other side; there: {', '.join(second)}")
    rows = tuple(
        _difference(name, makers[name], np.asarray(first[name]), _numbers(name, second[name]))
        for name in in_steps("comparing blobs", both)
    )
    only_first = tuple(name for name in names if name not in second)
    only_second = tuple(name for name in second if name not in first and name not in fed)
    return BlobComparison(rows, only_first, only_second, tolerance)


def _numbers(name: str, values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise DataError(f"blob '{name}' of the dump holds {array.dtype}, not numbers")
    return array


def _difference(name: str, layer: str, one: np.ndarray, other: np.ndarray) -> BlobDifference:
    absolute = relative = float("inf")
    if one.shape == other.shape:
        a, b = one.astype(np.float64), other.astype(np.float64)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        with np.errstate(invalid="ignore"):
            gaps = np.where(same, 0, np.abs(a - b))
        absolute = float(np.nan_to_num(gaps, nan=np.inf).max(initial=0))
        largest = float(np.abs(np.where(np.isfinite(a), a, 0)).max(initial=0))
        relative = absolute / largest if largest else absolute
    return BlobDifference(name, layer, one.shape, other.shape, absolute, relative)
