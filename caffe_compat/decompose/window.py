"""The window of a Convolution: kernel, stride, pad and dilation of every spatial axis, read and written as messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from caffe_compat.errors import ShapeError
from caffe_compat.proto.spelling import spell_out_norms

_SIDED = ("kernel", "stride", "pad")
ABSENT = {"kernel": 1, "stride": 1, "pad": 0, "dilation": 1}


@dataclass(frozen=True)
class Window:
    """One value for each spatial axis, vertical first."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]

    def output(self, size: Sequence[int]) -> tuple[int, ...]:
        """Positions along each axis for a bottom of `size`, as Caffe rounds (down)."""
        extents = [dilation * (kernel - 1) + 1 for kernel, dilation in zip(self.kernel, self.dilation, strict=True)]
        rows = zip(size, self.pad, extents, self.stride, strict=True)
        return tuple((length + 2 * pad - extent) // stride + 1 for length, pad, extent, stride in rows)


def read_window(fields: Any, axes: int, layer: str) -> Window:
    """The window of a ConvolutionParameter with `axes` spatial axes (Caffe's BaseConvolutionLayer::LayerSetUp).

    Each of kernel_size, stride, pad and dilation may be given once for all axes, once an axis, or (but dilation) as
    its _h and _w. Raises ShapeError for another number of values.
    """
    return Window(
        _values(fields, "kernel_size", "kernel", axes, layer),
        _values(fields, "stride", "stride", axes, layer),
        _values(fields, "pad", "pad", axes, layer),
        _values(fields, "dilation", "dilation", axes, layer),
    )


def _values(fields: Any, repeated: str, stem: str, axes: int, layer: str) -> tuple[int, ...]:
    if stem != "dilation" and (fields.HasField(f"{stem}_h") or fields.HasField(f"{stem}_w")):
        return (getattr(fields, f"{stem}_h"), getattr(fields, f"{stem}_w"))
    values = tuple(getattr(fields, repeated)) or (ABSENT[stem],)
    if len(values) not in (1, axes):
        raise ShapeError(f"layer '{layer}' gives {repeated} {len(values)} times; once or {axes} times is wanted")
    return values * axes if len(values) == 1 else values


def clear_window(fields: Any) -> None:
    """Make the layer 1x1: kernel_size 1, and the other repeated fields, where they were given, at rest."""
    given = [name for name in ("stride", "pad", "dilation") if len(getattr(fields, name))]
    _drop(fields)
    fields.kernel_size.append(1)
    for name in given:
        getattr(fields, name).append(ABSENT[name])


def keep_axis(fields: Any, window: Window, axis: int) -> None:
    """Leave the window only along `axis` (0 vertical, 1 horizontal) of two, written as _h and _w."""
    _drop(fields)
    for stem, rest in ABSENT.items():
        values = [value if index == axis else rest for index, value in enumerate(getattr(window, stem))]
        if stem != "dilation":
            setattr(fields, f"{stem}_h", values[0])
            setattr(fields, f"{stem}_w", values[1])
        elif values != [rest, rest]:
            fields.dilation.append(values[axis])  # along the other axis the kernel is 1 and dilation nothing


def spell_out(fields: Any, window: Window) -> None:
    """Write what a ConvolutionParameter says of a window of two axes in the way that every reader takes alike.

    Repeated values become one, or _h and _w where they differ; of _h and _w both are given; dilation stands once where
    the kernel is 1 along an axis or both are equal. (MNN reads only the first of repeated values, OpenCV 4 drops a pad
    of which one side is missing.)
    """
    for stem, repeated in (("kernel", "kernel_size"), ("stride", "stride"), ("pad", "pad")):
        values: tuple[int, ...] = getattr(window, stem)
        if len(getattr(fields, repeated)) > 1 and values[0] == values[1]:
            del getattr(fields, repeated)[1:]
        elif len(getattr(fields, repeated)) > 1 or fields.HasField(f"{stem}_h") != fields.HasField(f"{stem}_w"):
            fields.ClearField(repeated)
            setattr(fields, f"{stem}_h", values[0])
            setattr(fields, f"{stem}_w", values[1])
    acting = {dilation for dilation, kernel in zip(window.dilation, window.kernel, strict=True) if kernel > 1} or set(
        window.dilation[:1]
    )
    if len(fields.dilation) > 1 and len(acting) == 1:
        fields.dilation[:] = acting


def spell_out_layers(net: Any) -> None:
    """The same for every layer of a NetParameter that is written in a way that readers take differently."""
    spell_out_norms(net)
    for layer in net.layer:
        fields = layer.convolution_param
        counts = [len(getattr(fields, name)) for name in ("kernel_size", "stride", "pad", "dilation")]
        one_sided = any(fields.HasField(f"{stem}_h") != fields.HasField(f"{stem}_w") for stem in _SIDED)
        if layer.type in ("Convolution", "Deconvolution") and (one_sided or max(counts) == 2) and max(counts) <= 2:
            spell_out(fields, read_window(fields, 2, layer.name))


def _drop(fields: Any) -> None:
    for name in ("kernel_size", "stride", "pad", "dilation"):
        fields.ClearField(name)
    for stem in ("kernel", "stride", "pad"):
        fields.ClearField(f"{stem}_h")
        fields.ClearField(f"{stem}_w")
