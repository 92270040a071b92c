"""HMHSA and GroupNorm as ONNX, from operators that every runtime has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe_compat.export.onnx.program import Call, writes
from caffe_compat.export.writers import Inexpressible


@writes("GroupNorm")
def group_norm(call: Call) -> None:
    layer = call.layer
    _grouped(call, call.inputs[0], call.bottoms[0], layer.groups, (0, 1), layer.eps, call.outputs[0])


@writes("HMHSA")
def hmhsa(call: Call) -> None:
    layer = call.layer
    if call.is_open:
        raise Inexpressible("its maps are cut into grids for a batch of one size")
    batch, channels, height, width = shape = call.bottoms[0]
    qkv = _convolve(call, "qkv", _normalize(call, "norm", call.inputs[0], shape))
    if layer.grid == 1:
        flat = call.reshape(qkv, (batch, 3 * channels, height * width))
        attended = call.reshape(_attend(call, _parts(call, flat, 3), batch), shape)
        _convolve(call, "proj", attended, call.outputs[0])
        return
    rows, columns, side = height // layer.grid, width // layer.grid, layer.grid
    cut = call.reshape(qkv, (batch, 3 * channels, rows, side, columns, side))
    cut = call.op("Transpose", [cut], perm=(0, 2, 4, 1, 3, 5))
    tokens = call.reshape(cut, (batch * rows * columns, 3 * channels, side * side))
    local = _attend(call, _parts(call, tokens, 3), batch * rows * columns)
    local = call.reshape(local, (batch, rows, columns, channels, side, side))
    local = call.reshape(call.op("Transpose", [local], perm=(0, 3, 1, 4, 2, 5)), shape)
    first = _normalize(call, "grid_norm", call.op("Add", [call.inputs[0], local]), shape)
    pooled, small = first, shape
    if layer.ratio > 1:
        window = [layer.ratio] * 2
        pooled = call.op("AveragePool", [first], kernel_shape=window, strides=window)
        small = (batch, channels, height // layer.ratio, width // layer.ratio)
    kv = _convolve(call, "kv", _normalize(call, "ds_norm", pooled, small))
    key, value = _parts(call, call.reshape(kv, (batch, 2 * channels, small[2] * small[3])), 2)
    query = call.reshape(_convolve(call, "q", first), (batch, channels, height * width))
    attended = call.reshape(_attend(call, [query, key, value], batch), shape)
    _convolve(call, "proj", call.op("Add", [attended, first]), call.outputs[0])


def _parts(call: Call, value: str, count: int) -> list[str]:
    names = [f"{value}:{part}" for part in range(count)]
    call.op("Split", [value], names, axis=1)
    return names


def _attend(call: Call, parts: Sequence[str], batch: int) -> str:
    """parts: query, key and value."""
    layer = call.layer
    heads = layer.channels // layer.head_dim
    q, k, v = (call.reshape(each, (batch, heads, layer.head_dim, -1)) for each in parts)
    products = call.op("MatMul", [call.op("Transpose", [q], perm=(0, 1, 3, 2)), k])
    weights = call.op("Softmax", [call.scaled(products, layer.head_dim**-0.5)], axis=-1)
    made = call.op("MatMul", [v, call.op("Transpose", [weights], perm=(0, 1, 3, 2))])
    return call.reshape(made, (batch, layer.channels, -1))


def _convolve(call: Call, name: str, value: str, output: str | None = None) -> str:
    place = call.layer.places[name]
    blobs = [call.learned(place), *([call.learned(place + 1)] if call.layer.has_bias else [])]
    return call.op("Conv", [value, *blobs], output, kernel_shape=[1, 1])


def _normalize(call: Call, name: str, value: str, shape: Sequence[int]) -> str:
    layer = call.layer
    place = layer.places[name]
    if not layer.is_batch:
        return _grouped(call, value, shape, 1, (place, place + 1), layer.eps)
    statistics = layer.places[f"{name} statistics"]
    inputs = [value, *(call.learned(index) for index in (place, place + 1, statistics, statistics + 1))]
    return call.op("BatchNormalization", inputs, epsilon=layer.eps)


def _grouped(
    call: Call,
    value: str,
    shape: Sequence[int],
    groups: int,
    blobs: tuple[int, int],
    eps: float,
    output: str | None = None,
) -> str:
    """By InstanceNormalization over each group as one channel, then gamma and beta."""
    flat = call.reshape(value, (0, groups, -1))
    ones, zeros = call.constant(np.ones(groups)), call.constant(np.zeros(groups))
    unit = call.op("InstanceNormalization", [flat, ones, zeros], epsilon=eps)
    back = call.reshape(unit, (-1, *shape[1:]))
    wide = [shape[1], *[1] * (len(shape) - 2)]
    scaled = call.op("Mul", [back, call.learned(blobs[0], wide)])
    return call.op("Add", [scaled, call.learned(blobs[1], wide)], output)
