"""Everything that is wrong with a net and its weights, in one go: nothing here stops at the first fault."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from caffe_compat.errors import (
    CaffeCompatError,
    DataError,
    MissingDataError,
    ParseError,
    ShapeError,
    UnsupportedLayerError,
    UnsupportedParameterError,
)
from caffe_compat.export.caveats import caveat, ignored_fields, of_plugin
from caffe_compat.export.check_data import Labels, first_batch, is_missing, label_faults, source_labels
from caffe_compat.export.check_report import APPROXIMATE, EXACT, UNSUPPORTED, VERDICTS, Finding, Report, Verdict
from caffe_compat.export.check_weights import shared_parameters, weight_faults
from caffe_compat.export.deeds import deeds, find_module
from caffe_compat.export.pitfalls import overwritten
from caffe_compat.export.unobeyed import unobeyed_fields
from caffe_compat.graph.graph import Blob, Graph, Node, build_graph
from caffe_compat.graph.rules import is_included, net_state
from caffe_compat.layers.base import Context, Layer, Shape
from caffe_compat.layers.caffe.python_layer import PythonLayer
from caffe_compat.layers.registry import create_layer, layer_class, loss_types
from caffe_compat.layers.source import SourceLayer
from caffe_compat.net.params import learnable_params
from caffe_compat.net.shapes import check_tops_and_bottoms, top_shapes
from caffe_compat.net.sources import fitting_shapes, refuse_unknown_inputs, stated_shapes, twin_shapes
from caffe_compat.proto import dialects
from caffe_compat.proto.model import Model, ModelLike, as_model
from caffe_compat.proto.schema import NetParameter

_KINDS = {
    ShapeError: "shape",
    UnsupportedLayerError: "unsupported",
    UnsupportedParameterError: "unsupported",
    DataError: "data",
    MissingDataError: "data",
    ParseError: "data",  # of a file that a layer names
}


def check(
    model: ModelLike,
    phases: Sequence[str] = (),
    level: int = 0,
    stages: Iterable[str] = (),
    compat: str = "bvlc",
    input_shapes: Mapping[str, Shape] | None = None,
    folder: Path | None = None,
    weights_nets: Mapping[str, Any] | None = None,
    weights_files: Sequence[str] = (),
) -> Report:
    """A verdict on every layer of a net, all problems of it and of its weights, and notes.

    model: its weights may have more layers than its net; none means that only the net is checked. phases: "TRAIN",
    "TEST" or both; by default those for which the net has data or inputs. input_shapes: {blob: shape} where data is
    not here. folder: where the net's file lies. weights_nets: {file of weights: the net in it}, to tell its dialect.
    weights_files: the names of the files that the weights came from, or should have.
    No data is needed, though the first records of what is here are read; no memory for blobs; no user's code is run.
    """
    model = as_model(model)
    refuse_unknown_inputs([model], input_shapes or {})
    findings = Findings()
    net = _with_one_kind_of_rule(model.net, findings)
    chosen = tuple(phases) or _phases(net, level, tuple(stages))
    walks = []
    gradients = net.force_backward or (not phases and chosen == ("TEST",))
    for phase in chosen:
        context = Context(phase=phase, compat=compat, folder=folder, fork=dialects.disputed(net))
        walks.append(_Walk(Model(net, model.weights), context, dict(input_shapes or {}), findings, gradients))
        walks[-1].run(level, tuple(stages))
    _check_files(model, walks, findings, weights_files)
    verdicts: dict[int, Verdict] = {}
    for walk in walks:
        for number, verdict in walk.verdicts.items():
            worst = verdicts.get(number, verdict)
            verdicts[number] = max(worst, verdict, key=lambda each: VERDICTS.index(each.verdict))
    layers = tuple(verdicts[number] for number in sorted(verdicts))
    dialect = dialects.detect(net).name
    for file, other in (weights_nets or {}).items():
        if (of_weights := dialects.detect(other).name) != dialect:
            findings.note("", "dialect", f"{file} is in the dialect {of_weights}, the net in {dialect}")
    return Report(net.name, dialect, chosen, layers, tuple(findings.problems), tuple(findings.notes))


class Findings:
    """Problems and notes, each once, in the order found."""

    def __init__(self) -> None:
        self.problems: dict[Finding, None] = {}
        self.notes: dict[Finding, None] = {}

    def problem(self, layer: str, kind: str, message: str) -> None:
        self.problems[Finding(layer, kind, message)] = None

    def note(self, layer: str, kind: str, message: str) -> None:
        self.notes[Finding(layer, kind, message)] = None

    def fault(self, layer: str, error: CaffeCompatError) -> None:
        self.problem(layer, _KINDS.get(type(error), "wiring"), str(error))


class _Walk:
    """The layers of one phase, each set up as far as what stands above it allows."""

    def __init__(
        self, model: Model, context: Context, input_shapes: dict[str, Shape], findings: Findings, gradients: bool
    ) -> None:
        self.gradients = gradients  # whether TEST tells of them, for it is all there is, or the net asks for them
        self.model, self.context, self.input_shapes, self.findings = model, context, input_shapes, findings
        self.shapes: dict[Blob, Shape] = {}
        self.labels: dict[Blob, Labels] = {}  # of what sources give
        self.layers: list[Layer] = []  # those whose blobs could be made
        self.verdicts: dict[int, Verdict] = {}

    def run(self, level: int, stages: tuple[str, ...]) -> None:
        net, phase = self.model.net, self.context.phase
        graph = self.graph = build_graph(net, phase, level, stages, loss_types(), self.findings.fault)
        state = net_state(net, phase, level, stages)
        numbers = iter([number for number, layer in enumerate(net.layer) if is_included(layer, state)])
        own = {layer.name for layer in net.layer}
        splits = (node for node in graph.nodes if node.param.type == "Split" and node.bottoms)
        self.copied = {top.name: node.bottoms[0].name for node in splits for top in node.tops}
        for node in graph.nodes:
            verdict = self._visit(node)
            if node.param.type != "Split" or node.name in own:
                self.verdicts[next(numbers)] = verdict
        learnable_params(self.layers, on_fault=self.findings.fault)
        for layer, message, is_problem in label_faults(graph, self.shapes, self.labels):
            (self.findings.problem if is_problem else self.findings.note)(layer, "data", message)
        for layer, message, is_undefined in overwritten(graph, self.gradients):
            (self.findings.problem if is_undefined else self.findings.note)(layer, "in-place", message)
        self._note_unknown_shapes(graph)

    def _visit(self, node: Node) -> Verdict:
        param = node.param
        try:
            kind = layer_class(param).choose(param, self.context.folder)
            for word, message in deeds(param, kind, self.context.folder):
                self.findings.note(param.name, word, message)
            if kind is PythonLayer:
                find_module(param, self.context.folder)
            elif all(blob in self.shapes for blob in node.bottoms):
                self._set_up(node)
        except CaffeCompatError as error:
            return self._unsupported(param, _KINDS.get(type(error), "wiring"), str(error))
        except MemoryError:
            raise
        except Exception as error:  # a layer that falls over what it was given must not hide the rest of the net
            message = f"layer '{param.name}': cannot be built: {type(error).__name__}: {error}"
            return self._unsupported(param, "unsupported", message)
        ignored = ignored_fields(param, kind)
        if ignored:
            self.findings.problem(param.name, "fork-field", f"layer '{param.name}': {ignored}")
        for path in unobeyed_fields(param):
            self.findings.note(param.name, "unread-field", f"layer '{param.name}': {path} is not read here")
        reason = ignored or caveat(param, self.context.phase) or of_plugin(param, kind)
        return Verdict(param.name, param.type, APPROXIMATE if reason else EXACT, reason)

    def _unsupported(self, param: Any, kind: str, message: str) -> Verdict:
        message = re.sub(r"'([^']+)'", lambda found: f"'{self.copied.get(found[1], found[1])}'", message)
        message = message.split(" known: ")[0].rstrip(";")
        self.findings.problem(param.name, kind, message)
        reason = message.removeprefix(f"layer '{param.name}'").removeprefix(":").strip()
        return Verdict(param.name, param.type, UNSUPPORTED, reason)

    def _set_up(self, node: Node) -> None:
        kind = layer_class(node.param).choose(node.param, self.context.folder)
        if issubclass(kind, SourceLayer):
            source = kind(node.param, self.context)
            check_tops_and_bottoms(node, source)
            self.shapes.update(zip(node.tops, self._source(node, source), strict=False))
            return
        with torch.device("meta"):  # shapes without memory or random numbers
            layer = create_layer(node.param, self.context)
            check_tops_and_bottoms(node, layer)
            bottoms = [self.shapes[blob] for blob in node.bottoms]
            layer.setup(bottoms)
            self.layers.append(layer)
            self.shapes.update(zip(node.tops, top_shapes(node, layer, bottoms), strict=True))

    def _source(self, node: Node, layer: SourceLayer) -> Sequence[Shape]:
        """The shapes of what a source gives; those that come first where not all are known."""
        given = [self.input_shapes.get(top.name) for top in node.tops]
        if all(given):
            return [tuple(shape) for shape in given if shape is not None]
        found: Sequence[Shape] = []
        tops = len(node.tops)
        try:
            layer.setup([])
            found = top_shapes(node, layer, [])
            labels = source_labels(layer, first_batch(layer))
            self.labels.update((node.tops[top], each) for top, each in labels.items() if top < tops)
        except DataError as error:
            found = self._without_data(node, error, found)
        finally:
            layer.close()
        return [shape or declared for shape, declared in zip(given, found, strict=False)]

    def _without_data(self, node: Node, error: DataError, declared: Sequence[Shape]) -> Sequence[Shape]:
        """What is known of the shapes of a source whose data is not here, or cannot be used.

        A note says the former, the latter is a problem.
        """
        weights = self.model.weights
        found, how = list(declared), "its files say"
        if not found:
            found, how = stated_shapes(node.param, self.model.net.layer, weights), "its prototxt says"
        if not found:
            found, how = twin_shapes(node.param, self.model), "its data layer of the other phase says"
        if not found:
            found, how = fitting_shapes(self.graph, node.param, weights, self.context), "its weights fit best"
        sizes = " and ".join("x".join(map(str, shape)) for shape in found)
        taken = f"checked with {sizes}, as {how}" if found else "shapes behind it are unknown; give --input BLOB=SHAPE"
        if is_missing(error):
            self.findings.note(node.name, "data", f"{self.context.phase}: {error}; {taken}")
        else:
            self.findings.problem(node.name, "data", f"{self.context.phase}: {error}")
        return found

    def _note_unknown_shapes(self, graph: Graph) -> None:
        waiting = [node.name for node in graph.nodes if any(blob not in self.shapes for blob in node.bottoms)]
        waiting = [name for name in waiting if not name.endswith("_split")]
        if waiting:
            what = f"layers '{waiting[0]}' to '{waiting[-1]}'" if len(waiting) > 1 else f"layer '{waiting[0]}'"
            message = f"{self.context.phase}: shapes of {what} were not checked: the shape of a bottom is unknown"
            self.findings.note("", "shape", message)


def _check_files(model: Model, walks: Sequence[_Walk], findings: Findings, weights_files: Sequence[str]) -> None:
    """What concerns the net as a whole: its weights, sharing, names, and fields that nobody knows."""
    if not model.net.layer:
        findings.problem("", "wiring", "the net has no layers; is this the right file?")
    for layer, kind, message in weight_faults(model, [walk.layers for walk in walks], weights_files):
        findings.problem(layer, kind, message)
    unused = sorted(set(model.weights) - {layer.name for layer in model.net.layer})
    if unused:
        findings.note("", "weights", f"weights of {len(unused)} layers are not used: {', '.join(unused)}")
    for name, users in shared_parameters(model.net).items():
        findings.note("", "sharing", f"parameters '{name}' are shared by {' and '.join(users)}")
    for line in dialects.unknown_fields(model.net):
        findings.problem("", "unknown-field", f"{line} is of no fork known here; it is kept, but has no effect")
    for line in dialects.undecided_fields(model.net):
        findings.problem("", "unknown-field", f"{line}; nothing tells which; it is kept, but has no effect")
    evidence = dialects.detect(model.net).evidence
    if evidence:
        more = f" and {len(evidence) - 3} more" if len(evidence) > 3 else ""
        findings.note("", "dialect", f"fields that Caffe 1.0 does not have: {', '.join(evidence[:3])}{more}")


def _phases(net: Any, level: int, stages: tuple[str, ...]) -> tuple[str, ...]:
    """The phases for which the net is made.

    Those in which it has a layer without bottoms; of a net as a caffemodel has it the one it ran in; of one without a
    loss only TEST.
    """
    written = {layer.phase for layer in net.layer if layer.HasField("phase")}
    if len(written) == 1 and all(layer.HasField("phase") for layer in net.layer):
        return ("TRAIN",) if written == {0} else ("TEST",)
    sources = [layer for layer in net.layer if not layer.bottom]
    found = []
    for phase in ("TRAIN", "TEST"):
        state = net_state(net, phase, level, stages)
        if any(is_included(layer, state) for layer in sources):
            found.append(phase)
    trains = any(
        layer.type in loss_types() or layer.type.endswith("Loss") or any(layer.loss_weight) for layer in net.layer
    )
    if len(found) == 1:
        return tuple(found)
    return ("TRAIN", "TEST") if trains else ("TEST",)


def _with_one_kind_of_rule(net: Any, findings: Findings) -> Any:
    """`net`, or a copy in which no layer has include and exclude rules, which Caffe refuses."""
    if not any(layer.include and layer.exclude for layer in net.layer):
        return net
    mended = NetParameter()
    mended.CopyFrom(net)
    for layer in mended.layer:
        if layer.include and layer.exclude:
            message = f"layer '{layer.name}' has include and exclude rules; keep one of the two kinds"
            findings.problem(layer.name, "wiring", message)
            del layer.exclude[:]
    return mended
