"""Layers that work value by value, over an axis, or only move values, as torch.nn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe_compat.export.plain_torch.source import Call, number, options, writes
from caffe_compat.export.writers import Inexpressible
from caffe_compat.layers.base import Shape
from caffe_compat.layers.fields import enum_name


@writes("ReLU")
def relu(call: Call) -> None:
    slope = call.layer.negative_slope
    call.applied(f"nn.LeakyReLU({number(slope)})" if slope else "nn.ReLU()")


@writes("ReLU6", "Relu6")
def relu6(call: Call) -> None:
    if call.layer.negative_slope:
        raise Inexpressible("its negative_slope is not 0")
    call.applied("nn.ReLU6()")


@writes("PReLU")
def prelu(call: Call) -> None:
    channels = 1 if call.layer.channel_shared else call.bottoms[0][1]
    call.applied(f"nn.PReLU({channels})", weight=call.blob(0).reshape(channels))


@writes("ELU")
def elu(call: Call) -> None:
    call.applied(f"nn.ELU({number(call.layer.alpha)})")


@writes("Sigmoid")
def sigmoid(call: Call) -> None:
    call.applied("nn.Sigmoid()")


@writes("TanH")
def tanh(call: Call) -> None:
    call.applied("nn.Tanh()")


@writes("BNLL")
def bnll(call: Call) -> None:
    call.says(f"functional.softplus({call.inputs[0]}, threshold=80)")


@writes("AbsVal")
def absolute(call: Call) -> None:
    call.says(f"{call.inputs[0]}.abs()")


@writes("Dropout")
def dropout(call: Call) -> None:
    if call.layer.draws and call.layer.dropout_ratio:
        raise Inexpressible("sample_weights_test makes it draw at random in TEST too")
    call.applied(f"nn.Dropout({number(call.layer.param.dropout_param.dropout_ratio)})")


@writes("Softmax")
def softmax(call: Call) -> None:
    call.applied(f"nn.Softmax(dim={_axis(call)})")


@writes("Power")
def power(call: Call) -> None:
    layer = call.layer
    value = _shifted(_scaled(call.inputs[0], layer.scale), layer.shift)
    call.says(value if layer.power == 1 else f"({value}) ** {number(layer.power)}")


@writes("Exp")
def exponential(call: Call) -> None:
    layer = call.layer
    call.says(_scaled(f"torch.exp({_scaled(call.inputs[0], layer.inner_scale)})", layer.outer_scale))


@writes("Log")
def logarithm(call: Call) -> None:
    layer = call.layer
    inner = _shifted(_scaled(call.inputs[0], layer.scale), layer.shift)
    call.says(_scaled(f"torch.log({inner})", layer.base_scale))


@writes("Clip")
def clip(call: Call) -> None:
    call.says(f"{call.inputs[0]}.clamp({number(call.layer.min)}, {number(call.layer.max)})")


@writes("Threshold")
def threshold(call: Call) -> None:
    call.says(f"({call.inputs[0]} > {number(call.layer.threshold)}).to({call.inputs[0]}.dtype)")


@writes("BatchNorm")
def batch_norm(call: Call) -> None:
    layer, axes = call.layer, len(call.bottoms[0])
    if not layer.use_global_stats:
        raise Inexpressible("it normalizes by the statistics of its batch")
    if axes not in (2, 3, 4, 5):
        raise Inexpressible(f"its bottom has {axes} axes")
    factor = float(call.blob(2).reshape(-1)[0])
    unit = np.float32(1 / factor if factor else 0)
    fields = options(eps=float(number(layer.eps)), affine=False)
    call.applied(
        f"nn.BatchNorm{max(axes - 2, 1)}d({layer.channels}, {fields})",
        running_mean=call.blob(0) * unit,
        running_var=call.blob(1) * unit,
        num_batches_tracked=np.zeros((), np.int64),
    )


@writes("Scale")
def scale(call: Call) -> None:
    layer = call.layer
    value = f"{call.inputs[0]} * {_operand(call, 'weight')}"
    if layer.bias_term:
        last = len(layer.blobs) - 1
        value += f" + {_lined_up(call, call.parameter('bias', last), layer.blob_shapes[last])}"
    call.says(value)


@writes("Bias")
def bias(call: Call) -> None:
    call.says(f"{call.inputs[0]} + {_operand(call, 'bias')}")


def _operand(call: Call, key: str) -> str:
    """The second operand of Scale and Bias, with axes of size 1 behind it."""
    if len(call.inputs) > 1:
        return _lined_up(call, call.inputs[1], call.bottoms[1])
    return _lined_up(call, call.parameter(key, 0), call.layer.blob_shapes[0])


def _lined_up(call: Call, value: str, shape: Shape) -> str:
    behind = len(call.bottoms[0]) - call.layer.axis - len(shape)
    return value + "[..., None]" if behind == 1 else value + f"[(..., *[None] * {behind})]" if behind else value


@writes("Eltwise")
def eltwise(call: Call) -> None:
    layer = call.layer
    if layer.operation == "MAX":
        value = call.inputs[0]
        for index, other in enumerate(call.inputs[1:]):  # Caffe's rule for equal ones
            value = call.function("larger", *((other, value) if index else (value, other)))
        call.says(value)
        return
    factors = layer.coefficients or [1.0] * len(call.inputs)
    terms = [_scaled(value, factor) for value, factor in zip(call.inputs, factors, strict=True)]
    call.says((" * " if layer.operation == "PROD" else " + ").join(terms))


@writes("Concat")
def concat(call: Call) -> None:
    call.says(
        f"torch.cat([{', '.join(call.inputs)}], dim={call.layer.axis})" if len(call.inputs) > 1 else call.inputs[0]
    )


@writes("Slice")
def slices(call: Call) -> None:
    axis = _axis(call)
    sizes = [top[axis] for top in call.tops]
    tops = ", ".join(call.outputs) + ("," if len(call.outputs) == 1 else "")
    call.source.statements.append(f"{tops} = torch.split({call.inputs[0]}, {sizes}, dim={axis})")


@writes("Split")
def split(call: Call) -> None:
    for index in range(len(call.outputs)):
        call.says(call.inputs[0], index)


@writes("Silence")
def silence(call: Call) -> None:
    """Nothing: it only keeps Caffe from printing a blob."""


@writes("Flatten")
def flatten(call: Call) -> None:
    layer, bottom = call.layer, call.bottoms[0]
    first, last = (layer.canonical_axis(axis, bottom) for axis in (layer.axis, layer.end_axis))
    call.says(f"torch.flatten({call.inputs[0]}, {first}{'' if last == len(bottom) - 1 else f', {last}'})")


@writes("Reshape")
def reshape(call: Call) -> None:
    bottom, top = call.bottoms[0], call.tops[0]
    sizes: list[str | int] = list(top)
    if bottom and top and bottom[0] == top[0]:  # any number of items, then
        sizes[0] = f"{call.inputs[0]}.shape[0]"
    call.says(f"{call.inputs[0]}.reshape({', '.join(map(str, sizes))})")


@writes("Permute")
def permute(call: Call) -> None:
    order = list(call.layer.order)
    order += [axis for axis in range(len(call.bottoms[0])) if axis not in order]
    call.says(f"{call.inputs[0]}.permute({', '.join(map(str, order))})")


@writes("ShuffleChannel")
def shuffle_channel(call: Call) -> None:
    call.says(call.function("shuffle_channels", call.inputs[0], call.layer.group))


@writes("Axpy")
def axpy(call: Call) -> None:
    factors, x, y = call.inputs
    call.says(f"{factors} * {x} + {y}")


@writes("Crop")
def crop(call: Call) -> None:
    layer, bottom, top = call.layer, call.bottoms[0], call.tops[0]
    axis = layer.axis % len(bottom)
    count = len(bottom) - axis
    offsets = layer.offsets if len(layer.offsets) == count else (layer.offsets or (0,)) * count
    call.says(f"{call.inputs[0]}[{_ranges(axis, offsets, top)}]")


def _ranges(axis: int, offsets: Sequence[int], top: Shape) -> str:
    parts = [f"{start}:{start + size}" for start, size in zip(offsets, top[axis:], strict=True)]
    return ", ".join([":"] * axis + parts)


@writes("Tile")
def tile(call: Call) -> None:
    repeats = [1] * len(call.bottoms[0])
    repeats[_axis(call)] = call.layer.tiles
    call.says(f"{call.inputs[0]}.repeat({', '.join(map(str, repeats))})")


@writes("MVN")
def mvn(call: Call) -> None:
    param, axes = call.layer.param.mvn_param, len(call.bottoms[0])
    over = list(range(1 if param.across_channels else 2, axes))
    call.says(call.function("mvn", call.inputs[0], over, bool(param.normalize_variance), number(param.eps)))


@writes("Reduction")
def reduction(call: Call) -> None:
    layer, x = call.layer, call.inputs[0]
    kind = enum_name(layer.param.reduction_param, "operation")
    over = list(range(layer.canonical_axis(layer.axis, call.bottoms[0]), len(call.bottoms[0])))
    inner = {"ASUM": f"{x}.abs()", "SUMSQ": f"({x} * {x})"}.get(kind, x)
    call.says(_scaled(f"{inner}.{'mean' if kind == 'MEAN' else 'sum'}({over})", layer.coeff))


@writes("ArgMax")
def arg_max(call: Call) -> None:
    layer, top = call.layer, call.tops[0]
    flat = layer.axis is None
    x = f"torch.flatten({call.inputs[0]}, 1)" if flat else call.inputs[0]
    axis = 1 if flat else _axis(call)
    found = call.function("largest", x, axis, layer.top_k)
    if not flat:
        call.says(f"{found}[{int(layer.out_max_val)}]")
        return
    sizes = ", ".join(map(str, (-1, *top[1:])))
    call.says(f"torch.cat({found}, 1).reshape({sizes})" if layer.out_max_val else f"{found}[0].reshape({sizes})")


@writes("Embed")
def embed(call: Call) -> None:
    layer = call.layer
    called = call.module(f"nn.Embedding({layer.blob_shapes[0][0]}, {layer.blob_shapes[0][1]})", weight=0)
    bias = f" + {call.parameter('bias', 1)}" if len(layer.blobs) > 1 else ""
    call.says(f"{called}({call.inputs[0]}.long()){bias}")


@writes("BatchReindex")
def batch_reindex(call: Call) -> None:
    call.says(f"{call.inputs[0]}[{call.inputs[1]}.long()]")


def _axis(call: Call) -> int:
    axis: int = call.layer.canonical_axis(call.layer.axis, call.bottoms[0])
    return axis


def _scaled(value: str, factor: float) -> str:
    return value if factor == 1 else f"-{value}" if factor == -1 else f"{number(factor)} * {value}"


def _shifted(value: str, term: float) -> str:
    return value if term == 0 else f"{value} + {number(term)}"
