"""Random nets, and a numpy executor of them in plain loops that takes every count of channels from the weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

INPUT = (2, 4, 2, 1)  # of the blob "data"


@dataclass
class Toy:
    """A net: its prototxt, its blobs by layer name, and where each Slice cuts."""

    text: str
    weights: dict[str, list[np.ndarray]] = field(default_factory=dict)
    points: dict[str, list[int]] = field(default_factory=dict)


def run(graph: Any, toy: Toy, data: np.ndarray) -> dict[Any, np.ndarray]:
    """Every blob of `graph`, the wired net of `toy.text`."""
    values: dict[Any, np.ndarray] = {}
    for node in graph.nodes:
        bottoms = [values[blob] for blob in node.bottoms]
        tops = [data] if node.param.type == "Input" else _LAYERS[node.param.type](node, bottoms, toy)
        values.update(zip(node.tops, tops, strict=True))
    return values


def _convolution(node, bottoms, toy):
    x, (w, bias) = bottoms[0], toy.weights[node.name]
    groups = min(node.param.convolution_param.group, x.shape[1])  # one a channel stays one a channel
    outputs, inputs = w.shape[0] // groups, x.shape[1] // groups
    out = np.zeros((x.shape[0], w.shape[0], *x.shape[2:])) + bias[:, None, None]
    for o in range(w.shape[0]):
        for i in range(inputs):
            out[:, o] += w[o, i, 0, 0] * x[:, (o // outputs) * inputs + i]
    return [out]


def _deconvolution(node, bottoms, toy):
    x, (w, bias) = bottoms[0], toy.weights[node.name]
    groups = min(node.param.convolution_param.group, x.shape[1])
    outputs, inputs = w.shape[1], x.shape[1] // groups
    out = np.zeros((x.shape[0], outputs * groups, *x.shape[2:])) + bias[:, None, None]
    for i in range(x.shape[1]):
        for o in range(outputs):
            out[:, (i // inputs) * outputs + o] += w[i, o, 0, 0] * x[:, i]
    return [out]


def _inner_product(node, bottoms, toy):
    w, bias = toy.weights[node.name]
    w = w.T if node.param.inner_product_param.transpose else w
    return [bottoms[0].reshape(len(bottoms[0]), -1) @ w.T + bias]


_LAYERS: dict[str, Any] = {
    "Convolution": _convolution,
    "Deconvolution": _deconvolution,
    "InnerProduct": _inner_product,
    "Scale": lambda node, x, toy: [x[0] * toy.weights[node.name][0].reshape(1, -1, *[1] * (x[0].ndim - 2))],
    "Slice": lambda node, x, toy: np.split(x[0], toy.points[node.name], axis=1),
    "Concat": lambda node, x, toy: [np.concatenate(x, axis=1)],
    "Eltwise": lambda node, x, toy: [sum(x)],
    "ReLU": lambda node, x, toy: [np.maximum(x[0], 0)],
    "Flatten": lambda node, x, toy: [x[0].reshape(len(x[0]), -1)],
    "Split": lambda node, x, toy: x * len(node.tops),
}


@st.composite
def toys(draw: Any) -> Toy:
    """A net of two to twelve layers on "data"; some share their blobs."""
    shape = " ".join(f"dim: {size}" for size in INPUT)
    toy = Toy(f'layer {{ name: "in" type: "Input" top: "data" input_param {{ shape {{ {shape} }} }} }}\n')
    made: dict[str, tuple[int, ...]] = {"data": INPUT[1:]}
    owners: dict[Any, str] = {}
    random = np.random.default_rng(draw(st.integers(0, 99)))
    for number in range(draw(st.integers(2, 12))):
        name = f"l{number}"
        bottom = draw(st.sampled_from(list(made)[-4:]))
        kinds = [kind for kind, wants in _DRAWN.items() if wants(made[bottom])]
        kind = draw(st.sampled_from(kinds))
        fields, bottoms, tops, blobs = _layer(draw, kind, name, bottom, made)
        if kind == "Slice":
            toy.points[name] = [tops[f"{name}a"][0]]
        if blobs:
            owner = owners.setdefault((kind, *blobs), name) if draw(st.booleans()) else name
            fields += "".join(f' param {{ name: "{owner}_{k}" }}' for k in range(len(blobs)))
            toy.weights[name] = toy.weights.get(owner) or [random.normal(size=shape) for shape in blobs]
        made.update(tops)
        wires = [f'bottom: "{each}"' for each in bottoms] + [f'top: "{each}"' for each in tops]
        toy.text += f'layer {{ name: "{name}" type: "{kind}" {" ".join(wires)} {fields} }}\n'
    return toy


_DRAWN: dict[str, Any] = {
    "Convolution": lambda shape: len(shape) == 3,
    "Deconvolution": lambda shape: len(shape) == 3,
    "InnerProduct": lambda shape: True,
    "Scale": lambda shape: True,
    "Eltwise": lambda shape: True,
    "Concat": lambda shape: True,
    "Slice": lambda shape: shape[0] > 1,
    "ReLU": lambda shape: True,
    "Flatten": lambda shape: len(shape) == 3,
}


def _layer(draw: Any, kind: str, name: str, bottom: str, made: dict[str, tuple[int, ...]]) -> tuple[Any, ...]:
    """(fields, bottoms, {top: shape}, shapes of blobs) of a layer."""
    channels, *rest = made[bottom]
    if kind in ("Convolution", "Deconvolution"):
        groups = draw(st.sampled_from([g for g in sorted({1, 2, channels}) if channels % g == 0]))
        outputs = groups * draw(st.integers(1, 3))
        w = (outputs, channels // groups) if kind == "Convolution" else (channels, outputs // groups)
        fields = f"convolution_param {{ num_output: {outputs} group: {groups} kernel_size: 1 }}"
        return fields, [bottom], {name: (outputs, *rest)}, [(*w, 1, 1), (outputs,)]
    if kind == "InnerProduct":
        outputs, transpose, inputs = draw(st.integers(1, 4)), draw(st.booleans()), channels * int(np.prod(rest))
        fields = f"inner_product_param {{ num_output: {outputs} transpose: {str(transpose).lower()} }}"
        blobs = [(inputs, outputs) if transpose else (outputs, inputs), (outputs,)]
        return fields, [bottom], {name: (outputs,)}, blobs
    if kind == "Eltwise":
        other = draw(st.sampled_from([each for each, shape in made.items() if shape == made[bottom]]))
        return "", [bottom, other], {name: made[bottom]}, []
    if kind == "Concat":
        alike = [each for each, shape in made.items() if len(shape) == 1 + len(rest)]
        bottoms = draw(st.lists(st.sampled_from(alike), min_size=1, max_size=3))
        return "", bottoms, {name: (sum(made[each][0] for each in bottoms), *rest)}, []
    if kind == "Slice":
        cut = draw(st.integers(1, channels - 1))
        tops = {f"{name}a": (cut, *rest), f"{name}b": (channels - cut, *rest)}
        return f"slice_param {{ slice_point: {cut} }}", [bottom], tops, []
    if kind == "Flatten":
        return "", [bottom], {name: (channels * int(np.prod(rest)),)}, []
    return "", [bottom], {name: made[bottom]}, [(channels,)] if kind == "Scale" else []
