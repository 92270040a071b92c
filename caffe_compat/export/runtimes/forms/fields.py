"""The same layer, spelled otherwise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe_compat.export.runtimes.place import axis_of
from caffe_compat.export.runtimes.rewriting import Draft, Inexpressible, form, needed_blobs
from caffe_compat.layers.windows import convolution_windows, pooling_windows
from caffe_compat.proto.schema import LayerParameter


@form("new-axis")
def new_axis(draft: Draft) -> None:
    """concat_dim and slice_dim as axis."""
    layer = draft.same()
    concat = layer.type == "Concat"
    fields, old = (layer.concat_param, "concat_dim") if concat else (layer.slice_param, "slice_dim")
    fields.axis = getattr(fields, old)
    fields.ClearField(old)


@form("points")
def points(draft: Draft) -> None:
    """Equal slices with their slice points."""
    fields = draft.same().slice_param
    axis = axis_of(fields.slice_dim if fields.HasField("slice_dim") else fields.axis, draft.shape)
    ends = np.cumsum([top[axis] for top in draft.place.tops])
    fields.slice_point[:] = ends[:-1].tolist()


@form("offset")
def offset(draft: Draft) -> None:
    draft.same().crop_param.offset[:] = [0]


@form("plain-dropout")
def plain_dropout(draft: Draft) -> None:
    """Dropout as Caffe 1.0 has it, which knows no scale_train."""
    draft.same().dropout_param.ClearField("scale_train")


@form("reshape")
def reshape(draft: Draft) -> None:
    """A Reshape of the whole bottom, for any number of items where the first axis is theirs."""
    layer = draft.same()
    layer.type = "Reshape"
    layer.ClearField("flatten_param")
    layer.ClearField("reshape_param")
    layer.reshape_param.shape.dim[:] = whole_shape(draft)


def whole_shape(draft: Draft) -> list[int]:
    """The top's sizes, the first 0, as in the bottom, where that is the same."""
    sizes = list(draft.result)
    if sizes and draft.shape and sizes[0] == draft.shape[0] and len(sizes) > 1:
        sizes[0] = 0
    return sizes


@form("positive-axis")
def positive_axis(draft: Draft) -> None:
    fields = draft.same().inner_product_param
    fields.axis = axis_of(fields.axis, draft.shape)


@form("untransposed")
def untransposed(draft: Draft) -> None:
    weight, *bias = needed_blobs(draft, 1)
    fields = draft.place.param.inner_product_param
    turned = weight.reshape(-1, fields.num_output).T
    draft.same((np.ascontiguousarray(turned), *bias)).inner_product_param.ClearField("transpose")


@form("sizes")
def sizes(draft: Draft) -> None:
    """Interp by height and width."""
    fields = draft.same().interp_param
    if fields.pad_beg or fields.pad_end:
        raise Inexpressible("pad_beg and pad_end cut the bottom")
    fields.Clear()
    fields.height, fields.width = draft.result[2:]


@form("log-base")
def log_base(draft: Draft) -> None:
    """ln as the logarithm of base e in float32, whose own is 1 to eight digits."""
    draft.same().log_param.base = math.e


@form("whole-order")
def whole_order(draft: Draft) -> None:
    order = list(draft.place.param.permute_param.order)
    order += [axis for axis in range(len(draft.shape)) if axis not in order]
    draft.same().permute_param.order[:] = order


@form("slopes-by-channel")
def slopes_by_channel(draft: Draft) -> None:
    (slope,) = needed_blobs(draft, 1)
    draft.same((np.repeat(slope.reshape(1), draft.shape[1]),)).prelu_param.ClearField("channel_shared")


@form("scale-by-channel")
def scale_by_channel(draft: Draft) -> None:
    (scale,) = needed_blobs(draft, 1)
    draft.same((np.repeat(scale.reshape(1), draft.shape[1]),)).norm_param.channel_shared = False


@form("one-top-each")
def one_top_each(draft: Draft) -> None:
    """An Input for each top."""
    for number, (top, shape) in enumerate(zip(draft.tops, draft.place.tops, strict=True)):
        layer, _ = draft.add("Input", [], word=top)
        if number == 0:
            layer.name = draft.place.param.name
        layer.top[:] = [top]
        layer.input_param.shape.add(dim=shape)


@form("told-apart")
def told_apart(draft: Draft) -> None:
    """The layer under a name that no blob and no other layer has."""
    layer = LayerParameter()
    layer.CopyFrom(draft.place.param)
    layer.bottom[:], layer.top[:] = draft.bottoms, draft.tops
    new, _ = draft.add(layer.type, list(layer.bottom), word="2", blobs=draft.blobs)
    name = new.name
    new.CopyFrom(layer)
    new.name = name


@form("identity")
def identity(draft: Draft) -> None:
    """What passes its bottom on, as a Power that does nothing."""
    draft.power(draft.bottoms[0], last=True)


@form("windows-by-side")
def windows_by_side(draft: Draft) -> None:
    """Windows by height and width; a kernel filled up with zeros where dilations differ, which have one field."""
    param = draft.place.param
    windows = convolution_windows(param.name, param.convolution_param, len(draft.shape) - 2)
    if len(windows.kernel) != 2:
        raise Inexpressible("its windows have other than two axes")
    layer = draft.same()
    fields = layer.convolution_param
    for name in ("kernel_size", "stride", "pad"):
        fields.ClearField(name)
    for stem, values in (("kernel", windows.kernel), ("stride", windows.stride), ("pad", windows.pad)):
        for side, value in zip("hw", values, strict=True):
            setattr(fields, f"{stem}_{side}", value)
    if len(set(windows.dilation)) == 1:
        fields.dilation[:] = list(windows.dilation[:1]) if windows.dilation[0] > 1 else []
        return
    weight, *bias = needed_blobs(draft, 1)
    for spec in layer.param:
        spec.ClearField("name")
    draft.weights[layer.name] = (filled(weight, windows.dilation), *bias)
    fields.dilation[:] = []
    fields.kernel_h, fields.kernel_w = windows.extent


def filled(weight: np.ndarray, dilation: tuple[int, ...]) -> np.ndarray:
    """Kernels whose taps lie `dilation` apart, with zeros between them."""
    extent = [d * (k - 1) + 1 for k, d in zip(weight.shape[2:], dilation, strict=True)]
    whole = np.zeros((*weight.shape[:2], *extent), np.float32)
    taps: Any = (..., *(slice(None, None, d) for d in dilation))
    whole[taps] = weight
    return whole


@form("kernel-within")
def kernel_within(draft: Draft) -> None:
    """A Pooling whose only window along an axis is cut to the bottom and its pad: Caffe counts no more than that."""
    fields, size = draft.place.param.pooling_param, draft.shape[2:]
    windows = pooling_windows(draft.place.param.name, fields, size)
    kernel = [min(k, n + 2 * p) for n, k, p in zip(size, windows.kernel, windows.pad, strict=True)]
    pooling = draft.same().pooling_param
    pooling.ClearField("kernel_size")
    pooling.kernel_h, pooling.kernel_w = kernel


@form("no-round-mode")
def no_round_mode(draft: Draft) -> None:
    """The field goes where it changes nothing."""
    from caffe_compat.export.runtimes.forms.filters import pool_by_strides, pools_the_same_rounded_up

    if pools_the_same_rounded_up(draft):
        draft.same().pooling_param.ClearField("round_mode")
    else:
        pool_by_strides(draft)
