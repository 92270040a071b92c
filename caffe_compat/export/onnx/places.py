"""Layers that move values to other places, repeat or drop them, as ONNX."""

from __future__ import annotations

import numpy as np

from caffe_compat.export.onnx.program import Call, writes
from caffe_compat.export.writers import Inexpressible


@writes("Upsample")
def upsample(call: Call) -> None:
    """Each value repeated; with a mask, put where that says in a plane of zeros."""
    layer, shape = call.layer, call.tops[0]
    if len(call.inputs) == 1:
        scales = call.constant([1, 1, *layer.scale])
        options = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        call.op("Resize", [call.inputs[0], "", scales], call.outputs[0], **options)
        return
    values, mask = (call.reshape(each, (0, shape[1], -1)) for each in call.inputs)
    mask = call.op("Cast", [mask], to=call.program.onnx.TensorProto.INT64)
    number = call.op("Slice", [call.op("Shape", call.inputs[:1]), *(call.constant([at], np.int64) for at in (0, 1))])
    planes = call.op("Concat", [number, call.constant([shape[1], shape[2] * shape[3]], np.int64)], axis=0)
    put = call.op("ScatterElements", [call.zeros(planes), mask, values], axis=2)
    call.reshape(put, (0, *shape[1:]), call.outputs[0])


@writes("CropCenter")
def crop_center(call: Call) -> None:
    lost = [(axis, each) for axis, each in enumerate(call.layer.lost) if each]
    if any(axis in axes for axis, _ in lost for axes in call.open_bottoms):
        raise Inexpressible("it cuts along the batch, whose size is open")
    if not lost:
        call.op("Identity", call.inputs, call.outputs[0])
        return
    firsts, ends, axes = ([each for _, each in lost], [-each for _, each in lost], [axis for axis, _ in lost])
    edges = [call.constant(each, np.int64) for each in (firsts, ends, axes)]
    call.op("Slice", [call.inputs[0], *edges], call.outputs[0])


@writes("Gather", "Scatter")
def over_devices(call: Call) -> None:
    """Of the batches of all devices: here there is one."""
    for bottom, top in zip(call.inputs, call.outputs, strict=True):
        call.op("Identity", [bottom], top)


@writes("BatchReindex")
def batch_reindex(call: Call) -> None:
    index = call.op("Cast", [call.inputs[1]], to=call.program.onnx.TensorProto.INT64)
    call.op("Gather", [call.inputs[0], index], call.outputs[0], axis=0)
