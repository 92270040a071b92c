"""Layers of forks: rectifiers, normalisations, moves of values, constants, as torch.nn."""

from __future__ import annotations

import numpy as np
import torch

from caffe_compat.export.plain_torch.source import Call, number, options, writes
from caffe_compat.export.writers import Inexpressible
from caffe_compat.layers.fields import enum_name
from caffe_compat.layers.forks.faces.normalize import ChannelNormalize


@writes("HardSigmoid")
def hard_sigmoid(call: Call) -> None:
    inner = f"{number(call.layer.alpha)} * {call.inputs[0]} + {number(call.layer.beta)}"
    call.says(f"functional.hardtanh({inner}, 0, 1)")


@writes("HardSwish")
def hard_swish(call: Call) -> None:
    x = call.inputs[0]
    call.says(f"{x} * ({x} + 3).clamp(0, 6) / 6")


@writes("HSwish")
def open_hard_swish(call: Call) -> None:
    """As HardSwish, but for the gradients at its two kinks, which relu6 has."""
    x = call.inputs[0]
    call.says(f"{x} * functional.relu6({x} + 3) / 6")


@writes("Swish")
def swish(call: Call) -> None:
    x, beta = call.inputs[0], call.layer.beta
    if beta == 1:
        call.applied("nn.SiLU()")
    else:
        call.says(f"{x} * torch.sigmoid({number(beta)} * {x})")


@writes("Mish")
def mish(call: Call) -> None:
    call.applied("nn.Mish()")


@writes("Softplus")
def softplus(call: Call) -> None:
    """As it stands in the fork, infinite above 88.7 in float32."""
    call.says(f"torch.log(torch.exp({call.inputs[0]}) + 1)")


@writes("NegReLU")
def negative_relu(call: Call) -> None:
    x, slope = call.inputs[0], call.layer.param.relu_param.negative_slope
    call.says(f"torch.where({x} < 0, {x}, {number(slope)} * {x})")


@writes("Mean")
def mean(call: Call) -> None:
    field = call.layer.field
    sign = -1 if enum_name(field, "operation") == "SUBTRACT" else 1
    for index, (bottom, shape) in enumerate(zip(call.inputs, call.bottoms, strict=True)):
        values = np.tile(np.array(field.value, np.float32), shape[1] // len(field.value)) * (sign * field.mean_scale)
        kept = call.buffer("values", values.reshape(-1, *[1] * (len(shape) - 2)).astype(np.float32))
        call.says(f"{number(field.output_scale)} * ({number(field.input_scale)} * {bottom} + {kept})", index)


@writes("InstanceNorm")
def instance_norm(call: Call) -> None:
    fields = options(eps=float(number(call.layer.epsilon)))
    call.applied(f"nn.InstanceNorm2d({call.bottoms[0][1]}, {fields})")


@writes("GroupNorm")
def group_norm(call: Call) -> None:
    layer = call.layer
    fields = options(eps=float(number(layer.eps)))
    call.applied(f"nn.GroupNorm({layer.groups}, {call.bottoms[0][1]}, {fields})", weight=0, bias=1)


@writes("BN", "SyncBN")
def bn(call: Call) -> None:
    layer, axes = call.layer, len(call.bottoms[0])
    if layer.infers:
        wide = f"[(..., *[None] * {axes - 2})]" if axes > 2 else ""
        weight, bias = (f"{call.parameter(key, blob)}.flatten(){wide}" for blob, key in enumerate(("weight", "bias")))
        call.says(f"{call.inputs[0]} * {weight} + {bias}")
        return
    if layer.two_blobs:
        raise Inexpressible("it normalizes by the statistics of its batch")
    names = ("weight", "bias", "running_mean", "running_var")
    blobs = {name: call.blob(blob).reshape(-1) for blob, name in enumerate(names)}
    fields = options(eps=float(number(layer.eps)))
    called = f"nn.BatchNorm{max(axes - 2, 1)}d({call.bottoms[0][1]}, {fields})"
    call.applied(called, **blobs, num_batches_tracked=np.zeros((), np.int64))


@writes("L2Norm")
def l2_norm(call: Call) -> None:
    layer, x = call.layer, call.inputs[0]
    over = list(range(1, len(call.bottoms[0])))
    if layer.length is not None:
        call.says(call.function("over_fixed_length", x, number(layer.length)))
    elif layer.eps is None:
        squares = f"torch.sum({x} * {x}, {over}, keepdim=True)"
        call.says(f"{x} * {squares}.clamp(min={number(layer.least)}).rsqrt()")
    else:
        call.says(f"{x} / (torch.sum({x} * {x}, {over}, keepdim=True).sqrt() + {number(layer.eps)})")


@writes("ChannelNorm")
def channel_norm(call: Call) -> None:
    call.says(f"torch.linalg.vector_norm({call.inputs[0]}, dim=1, keepdim=True)")


@writes("Sparsify")
def sparsify(call: Call) -> None:
    if call.layer.coef:
        raise Inexpressible("its coef adds to the gradient what is in no value")
    threshold = call.layer.thre
    call.says(f"functional.softshrink({call.inputs[0]}, {number(threshold)})" if threshold else call.inputs[0])


@writes("MatMul")
def mat_mul(call: Call) -> None:
    layer = call.layer
    shapes = layer.operands(list(call.bottoms))
    values = [*call.inputs, *([] if len(call.inputs) == 2 else [call.parameter("weight", 0)])]
    given = [*call.bottoms, *([] if len(call.inputs) == 2 else [layer.blob_shapes[0]])]
    turns = (False, True) if layer.dims else layer.turns
    pair = []
    for value, shape, was, turn in zip(values, shapes, given, turns, strict=True):
        sizes = ", ".join(map(str, shape if layer.dims or len(shape) < 3 else (-1, *shape[1:])))
        pair.append((value if shape == was else f"{value}.reshape({sizes})") + (".mT" if turn else ""))
    call.says(" @ ".join(pair))


@writes("Padding")
def padding(call: Call) -> None:
    layer, x = call.layer, call.inputs[0]
    above, below, left, right = layer.margins(call.bottoms[0])
    if layer.mirrors:
        inner = call.function("mirrored", x, 3, left, right)
        call.says(call.function("mirrored", inner, 2, above, below))
    else:
        call.says(f"functional.pad({x}, ({left}, {right}, {above}, {below}), value={number(layer.value)})")


@writes("PassThrough")
def pass_through(call: Call) -> None:
    (_, channels, rows, columns), (height, width) = call.bottoms[0], call.layer.block
    _move(call, (channels, rows // height, height, columns // width, width), (0, 3, 5, 1, 2, 4))


@writes("Reorg", "ReorgYolo")
def reorg(call: Call) -> None:
    stride, (_, channels, rows, columns) = call.layer.stride, call.bottoms[0]
    planes = channels // stride**2
    if call.layer.reverse:
        _move(call, (stride, stride, planes, rows, columns), (0, 3, 4, 1, 5, 2))
    else:
        _move(call, (planes, rows, stride, columns, stride), (0, 3, 5, 1, 2, 4))


def _move(call: Call, apart: tuple[int, ...], order: tuple[int, ...]) -> None:
    """Take every item apart into axes, change their order, and put them together as the top."""
    sizes, axes, top = (", ".join(map(str, each)) for each in (apart, order, call.tops[0][1:]))
    call.says(f"{call.inputs[0]}.reshape(-1, {sizes}).permute({axes}).reshape(-1, {top})")


@writes("RegionYolo")
def region_yolo(call: Call) -> None:
    layer, top = call.layer, call.tops[0]
    parts = call.function("region", call.inputs[0], layer.boxes, layer.coords, layer.classes, bool(layer.do_softmax))
    first = -1 if top[0] == call.bottoms[0][0] or len(top) == 1 else top[0]
    call.says(f"{parts}.reshape({', '.join(map(str, (first, *top[1:])))})")


@writes("Normalize")
def normalize(call: Call) -> None:
    """SSD's; happynear's where it is that."""
    layer, x = call.layer, call.inputs[0]
    if not isinstance(layer, ChannelNormalize):
        over = list(range(1, len(call.bottoms[0]))) if layer.across_spatial else [1]
        weight = call.parameter("weight", 0) + ("" if layer.channel_shared else "[:, None, None]")
        call.says(f"{call.function('l2_normalize', x, over, number(layer.eps))} * {weight}")
        return
    if layer.param.normalize_param.normalize_type == "L1" or len(call.outputs) > 1:
        raise Inexpressible("normalize_type L1, or the length as second top")
    call.says(call.function("l2_normalize", x, [1], "1e-6"))


@writes("PriorBox", "PriorBoxClustered", "ContinuationIndicator")
def constant(call: Call) -> None:
    """What the layer gives follows from the shapes of its bottoms."""
    if call.layer.param.type == "ContinuationIndicator" and call.inputs:
        raise Inexpressible("its bottom says which sequences go on")
    with torch.no_grad():
        value = call.layer(*(torch.zeros(shape) for shape in call.bottoms))
    call.says(call.buffer("value", value.cpu().numpy()))


@writes("Reverse")
def reverse(call: Call) -> None:
    call.says(f"{call.inputs[0]}.flip({call.layer.canonical_axis(call.layer.axis, call.bottoms[0])})")


@writes("Transpose")
def transpose(call: Call) -> None:
    call.says(f"{call.inputs[0]}.permute({', '.join(map(str, call.layer.order))})")


@writes("CropCenter")
def crop_center(call: Call) -> None:
    ends = [f"{lost}:{-lost}" if lost else ":" for lost in call.layer.lost]
    call.says(f"{call.inputs[0]}[{', '.join(ends)}]" if any(call.layer.lost) else call.inputs[0])


@writes("Upsample")
def upsample(call: Call) -> None:
    if len(call.inputs) > 1:
        call.says(call.function("unpool", *call.inputs, *call.tops[0][2:]))
        return
    rows, columns = call.layer.scale
    call.says(f"{call.inputs[0]}.repeat_interleave({rows}, 2).repeat_interleave({columns}, 3)")


@writes("MaxUnPool")
def max_unpool(call: Call) -> None:
    call.says(call.function("unpool", *call.inputs, *call.tops[0][2:]))


@writes("Gather", "Scatter")
def over_devices(call: Call) -> None:
    """Of the batches of all devices: here there is one."""
    for index, bottom in enumerate(call.inputs):
        call.says(bottom, index)
