"""When a fact about a runtime concerns a layer with windows: Convolution, Deconvolution, Pooling."""

from __future__ import annotations

from typing import Any

from caffe_compat.export.runtimes.place import Place, axis_of, condition
from caffe_compat.layers.windows import Sizes, convolution_windows, pooling_windows


def windows_of(place: Place) -> Any:
    """The Windows of a Convolution or Deconvolution."""
    fields = place.param.convolution_param
    return convolution_windows(
        place.param.name, fields, len(place.bottoms[0]) - 1 - axis_of(fields.axis, place.bottoms[0])
    )


@condition("repeated-windows")
def _repeated_windows(place: Place) -> bool:
    fields = place.param.convolution_param
    return any(len(set(given)) > 1 for given in (fields.kernel_size, fields.stride, fields.pad, fields.dilation))


@condition("one-sided-pad")
def _one_sided_pad(place: Place) -> bool:
    fields = place.param.convolution_param
    return fields.HasField("pad_h") != fields.HasField("pad_w") and bool(fields.pad_h or fields.pad_w)


@condition("dilated")
def _dilated(place: Place) -> bool:
    windows = windows_of(place)
    return any(d > 1 and k > 1 for d, k in zip(windows.dilation, windows.kernel, strict=True))


@condition("padded-point")
def _padded_point(place: Place) -> bool:
    """A kernel of one pixel with a pad, at every pixel."""
    windows = windows_of(place)
    return set(windows.kernel) == {1} == set(windows.stride) and any(windows.pad)


@condition("padded-point-of-several")
def _padded_point_of_several(place: Place) -> bool:
    """The same, but for one filter a channel."""
    return _padded_point(place) and not _depthwise(place)


@condition("strided-padded-point")
def _strided_padded_point(place: Place) -> bool:
    """A kernel of one pixel with a pad, not at every pixel, that sees all channels."""
    windows = windows_of(place)
    return set(windows.kernel) == {1} != set(windows.stride) and any(windows.pad) and not _grouped(place)


@condition("grouped-past-kernel")
def _grouped_past_kernel(place: Place) -> bool:
    """Groups, and a pad wider than what the kernel spans."""
    windows = windows_of(place)
    return _grouped(place) and any(p > extent for p, extent in zip(windows.pad, windows.extent, strict=True))


def _grouped(place: Place) -> bool:
    return bool(place.param.convolution_param.group > 1)


@condition("grouped")
def _grouped_but_not_plain(place: Place) -> bool:
    """Groups, unless each is one channel without a bias."""
    return _grouped(place) and not (_depthwise(place) and not place.param.convolution_param.bias_term)


def _depthwise(place: Place) -> bool:
    fields = place.param.convolution_param
    return bool(fields.group == fields.num_output == place.bottoms[0][1] > 1)


@condition("stochastic")
def _stochastic(place: Place) -> bool:
    fields = place.param.pooling_param
    return bool(fields.pool == fields.STOCHASTIC)


@condition("round-mode")
def _round_mode(place: Place) -> bool:
    return bool(place.param.pooling_param.HasField("round_mode"))


@condition("kernel-past-bottom")
def _kernel_past_bottom(place: Place) -> bool:
    size = place.bottoms[0][2:]
    windows = pooling_windows(place.param.name, place.param.pooling_param, size)
    return any(k > n + 2 * p for n, k, p in zip(size, windows.kernel, windows.pad, strict=True))


@condition("mnn-pools-more")
def _mnn_pools_more(place: Place) -> bool:
    """MNN 3.6.1 rounds up and keeps windows that start in the pad."""
    size = place.bottoms[0][2:]
    windows = pooling_windows(place.param.name, place.param.pooling_param, size)
    terms = zip(size, windows.kernel, windows.stride, windows.pad, strict=True)
    more: Sizes = tuple(-(-(n + 2 * p - k) // s) + 1 for n, k, s, p in terms)
    return more != tuple(place.tops[0][2:])


@condition("one-axis-windows")
def _one_axis_windows(place: Place) -> bool:
    return len(place.bottoms[0]) == 3


@condition("three-axes-windows")
def _three_axes_windows(place: Place) -> bool:
    return len(place.bottoms[0]) == 5


@condition("mask-of-padded")
def _mask_of_padded(place: Place) -> bool:
    fields = place.param.pooling_param
    return len(place.tops) > 1 and any((fields.pad, fields.pad_h, fields.pad_w))
