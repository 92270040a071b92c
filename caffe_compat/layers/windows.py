"""Where windows lie: kernel, stride, pad and dilation as prototxts give them, and Caffe's output sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from caffe_compat.errors import ShapeError, UnsupportedParameterError

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Windows:
    """One entry a spatial axis, in elements. `dilation` is the distance between the taps of a kernel."""

    kernel: Sizes
    stride: Sizes
    pad: Sizes
    dilation: Sizes

    @property
    def extent(self) -> Sizes:
        """What a dilated kernel spans along each axis."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))


def truncated_quotient(numerator: int, denominator: int) -> int:
    """C++ integer division: towards zero, where Python's // goes down. `denominator` is positive."""
    return numerator // denominator if numerator >= 0 else -(-numerator // denominator)


def convolved_size(size: Sizes, windows: Windows) -> Sizes:
    """(size + 2 pad - extent) / stride + 1 in C++ integers (conv_layer.cpp, compute_output_shape).

    A kernel larger than the padded bottom still gives one output where the stride exceeds what it lacks; Caffe reads
    zeros there.
    """
    terms = zip(size, windows.extent, windows.stride, windows.pad, strict=True)
    return tuple(truncated_quotient(n + 2 * p - extent, s) + 1 for n, extent, s, p in terms)


def deconvolved_size(size: Sizes, windows: Windows) -> Sizes:
    """stride (size - 1) + extent - 2 pad (deconv_layer.cpp, compute_output_shape)."""
    terms = zip(size, windows.extent, windows.stride, windows.pad, strict=True)
    return tuple(s * (n - 1) + extent - 2 * p for n, extent, s, p in terms)


def pooled_size(size: Sizes, windows: Windows, ceil: bool) -> Sizes:
    """ceil or floor of (size + 2 pad - kernel) / stride, plus 1 (pooling_layer.cpp, Reshape).

    If either axis is padded, both axes lose a last window that would start at size + pad or later.
    """
    terms = zip(size, windows.kernel, windows.stride, windows.pad, strict=True)
    rounded = tuple((n + 2 * p - k + (s - 1 if ceil else 0)) // s + 1 for n, k, s, p in terms)
    if not any(windows.pad):
        return rounded
    terms = zip(rounded, size, windows.stride, windows.pad, strict=True)
    return tuple(out - 1 if (out - 1) * s >= n + p else out for out, n, s, p in terms)


def overhang(size: Sizes, output: Sizes, windows: Windows) -> Sizes:
    """How many elements the last window reaches beyond size + pad along each axis; 0 where it stays within."""
    terms = zip(size, output, windows.extent, windows.stride, windows.pad, strict=True)
    return tuple(max(0, (out - 1) * s + extent - p - n) for n, out, extent, s, p in terms)


def convolution_windows(layer: str, param: Any, axes: int) -> Windows:
    """The windows of a ConvolutionParameter over `axes` spatial axes (base_conv_layer.cpp, LayerSetUp)."""
    windows = Windows(
        kernel=_per_axis(layer, param, "kernel_size", "kernel", axes, default=None),
        stride=_per_axis(layer, param, "stride", "stride", axes, default=1),
        pad=_per_axis(layer, param, "pad", "pad", axes, default=0),
        dilation=_per_axis(layer, param, "dilation", "dilation", axes, default=1),
    )
    for field, sizes in (("kernel_size", windows.kernel), ("stride", windows.stride), ("dilation", windows.dilation)):
        if not all(sizes):
            raise UnsupportedParameterError(f"layer '{layer}': {field} {_listed(sizes)} has a zero; give 1 or more")
    return windows


def _per_axis(layer: str, param: Any, field: str, stem: str, axes: int, default: int | None) -> Sizes:
    """`field` given once for all axes or once an axis, or as `stem`_h and `stem`_w over two axes."""
    given: Sequence[int] = tuple(getattr(param, field))
    sides = [name for name in (f"{stem}_h", f"{stem}_w") if name in param.DESCRIPTOR.fields_by_name]
    if any(param.HasField(name) for name in sides):
        if given:
            raise UnsupportedParameterError(
                f"layer '{layer}': both {field} and {stem}_h/{stem}_w are given; keep one of the two forms"
            )
        if axes != 2:
            raise UnsupportedParameterError(
                f"layer '{layer}': {stem}_h and {stem}_w need 2 spatial axes, the bottom has {axes}; repeat {field}"
            )
        return getattr(param, f"{stem}_h"), getattr(param, f"{stem}_w")
    if not given and default is not None:
        return (default,) * axes
    if len(given) == 1:
        return tuple(given) * axes
    if not given or len(given) != axes:
        raise UnsupportedParameterError(
            f"layer '{layer}': {field} is given {len(given)} times for {axes} spatial axes; give it 1 or {axes} times"
        )
    return tuple(given)


def pooling_windows(layer: str, param: Any, size: Sizes) -> Windows:
    """The windows of a PoolingParameter over a plane of `size` (height, width) (pooling_layer.cpp, LayerSetUp)."""
    stride = _height_width(layer, param, "stride", "stride")
    pad = _height_width(layer, param, "pad", "pad")
    if param.global_pooling:
        if any(param.HasField(field) for field in ("kernel_size", "kernel_h", "kernel_w")):
            raise UnsupportedParameterError(
                f"layer '{layer}': global_pooling takes its kernel from the bottom; remove kernel_size, kernel_h/w"
            )
        if stride != (1, 1) or pad != (0, 0):
            raise UnsupportedParameterError(f"layer '{layer}': global_pooling needs pad 0 and stride 1")
        return Windows(size, stride, pad, (1, 1))
    if not param.HasField("kernel_size") and not (param.HasField("kernel_h") and param.HasField("kernel_w")):
        raise UnsupportedParameterError(f"layer '{layer}': give kernel_size, or kernel_h and kernel_w")
    kernel = _height_width(layer, param, "kernel_size", "kernel")
    if not all(kernel) or not all(stride):
        raise UnsupportedParameterError(
            f"layer '{layer}': kernel {_listed(kernel)} or stride {_listed(stride)} has a zero; give 1 or more"
        )
    if pad[0] >= kernel[0] or pad[1] >= kernel[1]:
        raise UnsupportedParameterError(
            f"layer '{layer}': pad {_listed(pad)} must be smaller than the kernel {_listed(kernel)}"
        )
    return Windows(kernel, stride, pad, (1, 1))


def _height_width(layer: str, param: Any, field: str, stem: str) -> Sizes:
    """`field` for both axes, or `stem`_h and `stem`_w, which Caffe wants together and alone."""
    split = [param.HasField(f"{stem}_{axis}") for axis in "hw"]
    if not any(split):
        value = getattr(param, field)
        return value, value
    if param.HasField(field) or not all(split):
        raise UnsupportedParameterError(
            f"layer '{layer}': give {field}, or {stem}_h and {stem}_w together, and not both forms"
        )
    return getattr(param, f"{stem}_h"), getattr(param, f"{stem}_w")


def check_output(layer: str, size: Sizes, output: Sizes, windows: Windows) -> None:
    """ShapeError where an axis would have no output."""
    if min(output, default=1) < 1:
        raise ShapeError(
            f"layer '{layer}': a bottom of {_listed(size)} with kernel {_listed(windows.extent)}, "
            f"stride {_listed(windows.stride)} and pad {_listed(windows.pad)} would have {_listed(output)} outputs; "
            "enlarge the bottom or the pad"
        )


def _listed(sizes: Sizes) -> str:
    return "x".join(map(str, sizes))
