"""A whole net as the text of a module: its layers written one after another, then class, forward pass and loading."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from caffe_compat.errors import GraphError, UnsupportedLayerError
from caffe_compat.export.plain_torch import elements, forks, functions, windows
from caffe_compat.export.plain_torch.source import WRITERS, Call, Names, Source, quoted
from caffe_compat.export.writers import Inexpressible
from caffe_compat.graph.graph import Blob
from caffe_compat.layers.caffe.overwriting import destroying_forward_of
from caffe_compat.layers.source import SourceLayer
from caffe_compat.net.net import Net
from caffe_compat.net.shapes import infer_shapes

_WRITERS = (elements, forks, windows)  # imported so that their writers register

_IMPORTS = """
from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
"""
_LOAD = '''

def load(weights: str | Path = Path(__file__).with_name("weights.safetensors")) -> Model:
    """The model with its weights."""
    model = Model()
    model.load_state_dict(load_file(weights))
    return model
'''


@dataclass(frozen=True)
class Interface:
    """Variables by blob: those that are fed, and all. outputs: the blobs that are given back."""

    inputs: Mapping[str, str]
    blobs: Mapping[str, str]
    outputs: Sequence[str]

    @property
    def arguments(self) -> str:
        return ", ".join(["self", *(f"{variable}: Tensor" for variable in self.inputs.values())])


def write_program(net: Net, outputs: Sequence[str] = ()) -> tuple[str, dict[str, np.ndarray]]:
    """The text of a module that computes `net`, and the state dict of its class; see folder.torch_source.

    outputs: the blobs that its forward gives, by default the outputs of the net.
    """
    source, variables = Source(), Names()
    names = {name: net.shapes[name] for name in net.input_names}
    shapes = infer_shapes(net.graph, [layer for _, layer in net.steps], names)
    values: dict[Blob, str] = {}
    problems = []
    for number, (node, layer) in enumerate(net.steps):
        splits = node.param.type == "Split"  # which Caffe puts in: another name for the same value
        values.update((top, values[node.bottoms[0]] if splits else variables[top.name]) for top in node.tops)
        if splits or isinstance(layer, SourceLayer):
            continue
        call = Call(
            source,
            layer,
            source.attributes.new(layer.name),
            tuple(values[blob] for blob in node.bottoms),
            tuple(values[blob] for blob in node.tops),
            tuple(shapes[blob] for blob in node.bottoms),
            tuple(shapes[blob] for blob in node.tops),
        )
        problems += _overwriting(net, number) or _write_layer(call)
    if problems:
        raise UnsupportedLayerError(f"net '{net.graph.name}': plain PyTorch has no form for {'; '.join(problems)}")
    return _text(net, source, _interface(net, variables, outputs or net.output_names)), source.state


def _interface(net: Net, variables: Names, wanted: Sequence[str]) -> Interface:
    read = {bottom.name for node, _ in net.steps for bottom in node.bottoms}
    inputs = {name: variables[name] for name in net.input_names if name in read}
    blobs = {
        name: variable for name, variable in variables.given.items() if name in inputs or name not in net.input_names
    }
    outputs = [name for name in wanted if name in blobs and name not in inputs]
    if not outputs:
        raise GraphError(f"net '{net.graph.name}' has no output that a layer computes; there is nothing to export")
    return Interface(inputs, blobs, outputs)


def _overwriting(net: Net, number: int) -> list[str]:
    """What to say of a layer that in Caffe computes with what a layer in place has overwritten."""
    hazard, layer = net.hazards.by_number.get(number), net.steps[number][1]
    lost = hazard is not None and (hazard.read or (hazard.in_place and destroying_forward_of(layer) is not None))
    why = "what it reads is overwritten in place; --in-place right takes the prototxt's values"
    return [f"layer '{layer.name}' ({layer.param.type}): {why}"] if lost else []


def _write_layer(call: Call) -> list[str]:
    """Write the layer; what to say where that cannot be done."""
    layer = call.layer
    shown = f"layer '{layer.name}' ({layer.param.type})"
    if layer.param.type not in WRITERS:
        measures = layer.default_loss_weight or layer.param.type == "Accuracy"
        return [f"{shown}, which belongs to training; export the deploy net" if measures else shown]
    try:
        WRITERS[layer.param.type](call)
    except Inexpressible as error:
        return [f"{shown}: {error}"]
    return []


def _text(net: Net, source: Source, interface: Interface) -> str:
    copied = [inspect.getsource(getattr(functions, name)).rstrip() for name in sorted(source.functions)]
    uses_functional = any("functional." in text for text in (*source.statements, *copied))
    shapes = "; ".join(f"{name}: {' x '.join(map(str, net.shapes[name]))}" for name in interface.inputs)
    title = quoted(net.graph.name)[1:-1].replace('\\"', "'") or "A net"
    parts = [
        f'"""{title}: a Caffe net as a module of torch.nn.\n\nInputs, float32: {shapes}.\n"""\n{_IMPORTS}',
        "from torch.nn import functional\n" if uses_functional else "",
        f"\nINPUTS = [{', '.join(map(quoted, interface.inputs))}]\n",
        *(f"\n\n{text}\n" for text in copied),
        "\n\nclass Model(nn.Module):\n",
        "\n".join([*_constructor(source), "", *_blobs(source, interface), "", *_forward(interface), ""]),
        _LOAD,
    ]
    text = "".join(parts)
    ast.parse(text)
    return text


def _constructor(source: Source) -> list[str]:
    made = [f"self.{attribute} = {constructor}" for attribute, constructor in source.modules.items()]
    made += [
        f"self.{attribute} = nn.Parameter(torch.zeros({', '.join(map(str, shape)) or '()'}))"
        for attribute, shape in source.parameters.items()
    ]
    made += [
        f'self.register_buffer("{attribute}", torch.zeros({", ".join(map(str, shape)) or "()"}))'
        for attribute, shape in source.buffers.items()
    ]
    made += [f"self.{later} = self.{owner}" for later, owner in source.ties]
    return ["    def __init__(self) -> None:", "        super().__init__()", *(f"        {line}" for line in made)]


def _blobs(source: Source, interface: Interface) -> list[str]:
    return [
        f"    def blobs({interface.arguments}) -> dict[str, Tensor]:",
        '        """Every blob by its name in Caffe."""',
        *(f"        {statement}" for statement in source.statements),
        "        return {",
        *(f"            {quoted(name)}: {variable}," for name, variable in interface.blobs.items()),
        "        }",
    ]


def _forward(interface: Interface) -> list[str]:
    called = f"self.blobs({', '.join(interface.inputs.values())})"
    if len(interface.outputs) == 1:
        return [
            f"    def forward({interface.arguments}) -> Tensor:",
            f"        return {called}[{quoted(interface.outputs[0])}]",
        ]
    outputs = ", ".join(map(quoted, interface.outputs))
    return [
        f"    def forward({interface.arguments}) -> dict[str, Tensor]:",
        f"        blobs = {called}",
        f"        return {{name: blobs[name] for name in ({outputs})}}",
    ]
