"""Filter banks and pooling with other windows."""

from __future__ import annotations

import numpy as np

from caffe_compat.export.runtimes.conditions_of_windows import windows_of
from caffe_compat.export.runtimes.forms.fields import filled
from caffe_compat.export.runtimes.rewriting import Draft, Inexpressible, form, needed_blobs
from caffe_compat.layers.windows import Windows, pooled_size, pooling_windows


def set_windows(fields: object, windows: Windows) -> None:
    """Kernel, stride and pad by height and width, and no dilation."""
    for name in ("kernel_size", "stride", "pad", "dilation"):
        fields.ClearField(name)  # type: ignore[attr-defined]
    for stem, values in (("kernel", windows.kernel), ("stride", windows.stride), ("pad", windows.pad)):
        for side, value in zip("hw", values, strict=True):
            setattr(fields, f"{stem}_{side}", value)


@form("filled-kernel")
def filled_kernel(draft: Draft) -> None:
    """Dilated kernels as whole ones with zeros between their taps."""
    windows = windows_of(draft.place)
    if len(windows.kernel) != 2:
        raise Inexpressible("its windows have other than two axes")
    weight, *bias = needed_blobs(draft, 1)
    layer = draft.same((filled(weight, windows.dilation), *bias))
    set_windows(layer.convolution_param, Windows(windows.extent, windows.stride, windows.pad, (1, 1)))


@form("ringed-kernel")
def ringed_kernel(draft: Draft) -> None:
    """Kernels with zeros around them until they are wider than the pad."""
    windows = windows_of(draft.place)
    if len(windows.kernel) != 2:
        raise Inexpressible("its windows have other than two axes")
    weight, *bias = needed_blobs(draft, 1)
    ring = max(max(p - extent, 0) + 1 for p, extent in zip(windows.pad, windows.extent, strict=True))
    whole = np.pad(filled(weight, windows.dilation), [(0, 0), (0, 0), (ring, ring), (ring, ring)])
    layer = draft.same((whole, *bias))
    kernel, pad = (
        tuple(each + more for each in sizes) for sizes, more in ((windows.extent, 2 * ring), (windows.pad, ring))
    )
    set_windows(layer.convolution_param, Windows(kernel, windows.stride, pad, (1, 1)))


@form("grouped")
def grouped(draft: Draft) -> None:
    """A depthwise layer of a fork as a Convolution with a group a channel."""
    layer = draft.same()
    layer.type = "Convolution"
    layer.convolution_param.group = draft.shape[1]


@form("ungrouped")
def ungrouped(draft: Draft) -> None:
    """A grouped Deconvolution as one whose filters are zero outside their group."""
    weight, *bias = needed_blobs(draft, 1)
    group = draft.place.param.convolution_param.group
    inputs, outputs = weight.shape[:2]
    whole = np.zeros((inputs, outputs * group, *weight.shape[2:]), np.float32)
    size = inputs // group
    for number in range(group):
        rows = slice(number * size, (number + 1) * size)
        whole[rows, number * outputs : (number + 1) * outputs] = weight[rows]
    draft.same((whole, *bias)).convolution_param.ClearField("group")


def pool_windows(draft: Draft) -> Windows:
    return pooling_windows(draft.place.param.name, draft.place.param.pooling_param, draft.shape[2:])


def pools_the_same_rounded_up(draft: Draft) -> bool:
    """Whether round_mode changes nothing of a Pooling."""
    return pooled_size(draft.shape[2:], pool_windows(draft), True) == tuple(draft.result[2:])


@form("pool-by-strides")
def pool_by_strides(draft: Draft) -> None:
    """Pooling whose sizes are rounded down, by Convolutions that round down.

    AVE is the mean of whole windows: a Convolution of each channel. MAX is taken at every place, and a Convolution of
    each channel with the kernel 1 keeps one of every stride. Where one axis is rounded up, each has a Pooling first.
    """
    windows, channels = pool_windows(draft), draft.shape[1]
    fields = draft.place.param.pooling_param
    if pooled_size(draft.shape[2:], windows, False) != tuple(draft.result[2:]):
        pool_by_axis(draft, windows)
        return
    kernel, pad, bottom = windows.kernel, windows.pad, draft.bottoms[0]
    if fields.pool == fields.MAX:
        pooled = draft.same()
        bottom = draft.free(f"{pooled.name}_every")
        pooled.top[:] = [bottom]
        for name in ("stride", "stride_h", "stride_w", "round_mode"):
            pooled.pooling_param.ClearField(name)
        kernel, pad = (1, 1), (0, 0)
    weight = np.full((channels, 1, *kernel), 1 / np.prod(kernel), np.float32)
    layer, _ = draft.add("Convolution", bottom, last=True, blobs=(weight,), word="strided")
    layer.convolution_param.num_output = layer.convolution_param.group = channels
    layer.convolution_param.bias_term = False
    set_windows(layer.convolution_param, Windows(kernel, windows.stride, pad, (1, 1)))


def pool_by_axis(draft: Draft, windows: Windows) -> None:
    """A Pooling of the rows, and one of what it gives along the columns: windows of MAX and AVE are products."""
    if 1 in windows.kernel:
        raise Inexpressible("its last windows are not whole")
    fields = draft.place.param.pooling_param
    bottom = draft.bottoms[0]
    for axis in (0, 1):
        layer, bottom = draft.add("Pooling", bottom, last=axis == 1, word="hw"[axis])
        new = layer.pooling_param
        new.pool = fields.pool
        if fields.HasField("round_mode") and fields.round_mode != fields.CEIL:
            new.round_mode = fields.round_mode
        for stem, sizes, usual in (
            ("kernel", windows.kernel, 1),
            ("stride", windows.stride, 1),
            ("pad", windows.pad, 0),
        ):
            for place, side in enumerate("hw"):
                setattr(new, f"{stem}_{side}", sizes[axis] if place == axis else usual)
