"""The shape of every blob as far as the messages alone tell it: no layer is built, no data opened.

An axis whose size only data or a fork's layer knows is None, and so is a whole shape of which not even the number of
axes is known. Source: the Reshape of each layer (src/caffe/layers at 9b89154).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from caffe_compat.graph.graph import Graph
from caffe_compat.graph.wiring import Blob
from caffe_compat.proto import forks

Size = int | None
KnownShape = tuple[Size, ...]
BlobShapes = Mapping[Blob, KnownShape | None]
_Rule = Callable[[Any, list[KnownShape | None], int], list[KnownShape | None]]

_SPEED_ONLY = re.compile(r"engine|cudnn|conv_mode")

SAME_SHAPE = frozenset(
    {
        "AbsVal", "BNLL", "BatchNorm", "Bias", "Clip", "Dropout", "ELU", "Eltwise", "Exp", "LRN", "Log", "MVN", "PReLU",
        "Power", "ReLU", "Scale", "Sigmoid", "Softmax", "Split", "Swish", "TanH", "Threshold",
    }
)  # fmt: skip
"""Caffe's types every top of which has the shape of the first bottom."""


def blob_shapes(graph: Graph, given: Mapping[str, Sequence[int]] | None = None) -> dict[Blob, KnownShape | None]:
    """The shape of every blob version; `given` replaces what the messages say of blobs by name (of inputs, say)."""
    known = {name: tuple(shape) for name, shape in (given or {}).items()}
    shapes: dict[Blob, KnownShape | None] = {}
    for node in graph.nodes:
        bottoms = [shapes.get(blob) for blob in node.bottoms]
        rule = _RULES.get(node.param.type, _unknown)
        tops = _unknown(node.param, bottoms, len(node.tops))
        if node.param.type not in SAME_SHAPE:
            tops = rule(node.param, bottoms, len(node.tops)) if _enough(node.param.type, bottoms) else tops
        elif bottoms:
            tops = [bottoms[0]] * len(node.tops)
        tops += [None] * (len(node.tops) - len(tops))
        shapes.update((top, known.get(top.name, shape)) for top, shape in zip(node.tops, tops, strict=False))
    return shapes


def _enough(type_name: str, bottoms: Sequence[KnownShape | None]) -> bool:
    return type_name in _SOURCES or bool(bottoms and bottoms[0] is not None)


def axis_of(axis: int, shape: KnownShape) -> int:
    """`axis` counted from the front."""
    return axis + len(shape) if axis < 0 else axis


def product(sizes: Sequence[Size]) -> Size:
    """None where one of them is not known."""
    return None if None in sizes else math.prod(size for size in sizes if size is not None)


def _unknown(param: Any, bottoms: list[KnownShape | None], tops: int) -> list[KnownShape | None]:
    return [None] * tops


def _input(param: Any, bottoms: list[KnownShape | None], tops: int) -> list[KnownShape | None]:
    shapes = param.input_param.shape if param.type == "Input" else param.dummy_data_param.shape
    made: list[KnownShape | None] = [tuple(shape.dim) for shape in shapes]
    if param.type == "DummyData" and not made:
        old = param.dummy_data_param
        made = [tuple(sizes) for sizes in zip(old.num, old.channels, old.height, old.width, strict=False)]
    return made * tops if len(made) == 1 else made


def _data(param: Any, bottoms: list[KnownShape | None], tops: int) -> list[KnownShape | None]:
    crop = param.transform_param.crop_size or None
    return [(None, None, crop, crop)] + [None] * (tops - 1)


def _windows(param: Any, stem: str, axes: int, default: Size) -> list[Size]:
    """What a layer's windows have along each axis; None where the message does not say it in a form known here."""
    sides = [side for side in (f"{stem}_h", f"{stem}_w") if side in param.DESCRIPTOR.fields_by_name]
    if any(param.HasField(side) for side in sides):
        return [getattr(param, side) for side in sides] if axes == 2 else [None] * axes
    field = "kernel_size" if stem == "kernel" else stem
    if field not in param.DESCRIPTOR.fields_by_name:
        return [default] * axes
    value = getattr(param, field)
    if isinstance(value, int):  # a PoolingParameter has one for both axes
        return [value if param.HasField(field) else default] * axes
    given = list(value) or [default]
    return given * axes if len(given) == 1 else given if len(given) == axes else [None] * axes


def _convolution(param: Any, bottoms: list[KnownShape | None], tops: int) -> list[KnownShape | None]:
    fields = param.convolution_param
    return [_convolved(shape, fields, param.type) for shape in bottoms[:tops]]


def _convolved(shape: KnownShape | None, fields: Any, type_name: str) -> KnownShape | None:
    if shape is None:
        return None
    at = axis_of(fields.axis, shape)
    axes = len(shape) - at - 1
    stems = (("kernel", None), ("stride", 1), ("pad", 0), ("dilation", 1))
    sizes = zip(shape[at + 1 :], *(_windows(fields, stem, axes, default) for stem, default in stems), strict=True)
    change = _deconvolved_size if type_name == "Deconvolution" else _convolved_size
    made = tuple(None if None in each or fork_field(fields) else change(*each) for each in sizes)  # type: ignore
    return (*shape[:at], shape[at] if type_name == "ConvolutionDepthwise" else fields.num_output, *made)


def _convolved_size(size: int, kernel: int, stride: int, pad: int, dilation: int) -> Size:
    return (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1 if stride else None


def _deconvolved_size(size: int, kernel: int, stride: int, pad: int, dilation: int) -> Size:
    return stride * (size - 1) + dilation * (kernel - 1) + 1 - 2 * pad


def _pooling(param: Any, bottoms: list[KnownShape | None], tops: int) -> list[KnownShape | None]:
    shape, fields = bottoms[0], param.pooling_param
    assert shape is not None
    if len(shape) != 4 or fields.HasField("round_mode") or fork_field(fields):
        return [(*shape[:2], *[None] * (len(shape) - 2))] * tops
    if fields.global_pooling:
        return [(*shape[:2], 1, 1)] * tops
    stems = (("kernel", None), ("stride", 1), ("pad", 0))
    kernel, stride, pad = (_windows(fields, stem, 2, default) for stem, default in stems)
    padded = any(pad)
    sizes = zip(shape[2:], kernel, stride, pad, strict=True)
    made = tuple(None if None in each else _pooled_size(*each, padded) for each in sizes)  # type: ignore[arg-type]
    return [(*shape[:2], *made)] * tops


def fork_field(fields: Any) -> str:
    """A field set in a message that only forks of Caffe know and that may change what is computed; "" where none is."""
    added = forks.added_fields().get(fields.DESCRIPTOR.name)
    names = (field.name for field, _ in fields.ListFields()) if added else ()
    return next((name for name in names if added and name in added and not _SPEED_ONLY.search(name)), "")


def fork_setting(param: Any) -> str:
    """As `fork_field`, of all the settings in a LayerParameter: "pooling_param.ceil_mode"."""
    for field, value in param.ListFields():
        if field.name.endswith("_param") and isinstance(value, Message):
            name = fork_field(value)
            if name:
                return f"{field.name}.{name}"
    return ""


def _pooled_size(size: int, kernel: int, stride: int, pad: int, padded: bool) -> Size:
    if not stride:
        return None
    made = -(-(size + 2 * pad - kernel) // stride) + 1
    return made - 1 if padded and (made - 1) * stride >= size + pad else made


def _inner_product(param: Any, bottoms: list[KnownShape | None], tops: int) -> list[KnownShape | None]:
    shape, fields = bottoms[0], param.inner_product_param
    assert shape is not None
    return [(*shape[: axis_of(fields.axis, shape)], fields.num_output)]


def _embed(param: Any, bottoms: list[KnownShape | None], tops: int) -> list[KnownShape | None]:
    assert bottoms[0] is not None
    return [(*bottoms[0], param.embed_param.num_output)]


def joined_axis(fields: Any, old: str, shape: KnownShape) -> int:
    """The axis of a Concat or Slice: `axis`, or the field of old, which counts from the front only."""
    return int(getattr(fields, old)) if fields.HasField(old) else axis_of(fields.axis, shape)


def _concat(param: Any, bottoms: list[KnownShape | None], tops: int) -> list[KnownShape | None]:
    first = bottoms[0]
    assert first is not None
    at = joined_axis(param.concat_param, "concat_dim", first)
    if any(shape is None or len(shape) != len(first) for shape in bottoms) or at >= len(first):
        return [(*first[:at], None, *first[at + 1 :])]
    total = 0
    for shape in bottoms:
        size = shape[at] if shape else None
        if size is None:
            return [(*first[:at], None, *first[at + 1 :])]
        total += size
    return [(*first[:at], total, *first[at + 1 :])]


def _slice(param: Any, bottoms: list[KnownShape | None], tops: int) -> list[KnownShape | None]:
    shape, fields = bottoms[0], param.slice_param
    assert shape is not None
    at = joined_axis(fields, "slice_dim", shape)
    bounds = slice_bounds(list(fields.slice_point), shape[at] if at < len(shape) else None, tops)
    sizes = [None if bounds is None else bounds[k + 1] - bounds[k] for k in range(tops)]
    return [(*shape[:at], size, *shape[at + 1 :]) for size in sizes]


def slice_bounds(points: Sequence[int], size: Size, tops: int) -> list[int] | None:
    """Where each top of a Slice begins, and the end of the last; None where that is not known or not possible."""
    if size is None or (points and len(points) != tops - 1) or (not points and size % tops):
        return None
    return [0, *points, size] if points else [k * (size // tops) for k in range(tops + 1)]


def _flatten(param: Any, bottoms: list[KnownShape | None], tops: int) -> list[KnownShape | None]:
    shape, fields = bottoms[0], param.flatten_param
    assert shape is not None
    start, end = axis_of(fields.axis, shape), axis_of(fields.end_axis, shape)
    return [(*shape[:start], product(shape[start : end + 1]), *shape[end + 1 :])]


def _reshape(param: Any, bottoms: list[KnownShape | None], tops: int) -> list[KnownShape | None]:
    shape, fields = bottoms[0], param.reshape_param
    assert shape is not None
    start = fields.axis if fields.axis >= 0 else len(shape) + fields.axis + 1
    end = len(shape) if fields.num_axes < 0 else start + fields.num_axes
    new: list[Size] = list(fields.shape.dim)
    if any(size == 0 and start + k >= len(shape) for k, size in enumerate(new)):
        return [None]
    made = [shape[start + k] if size == 0 else size for k, size in enumerate(new)]
    if -1 in made:
        whole, rest = product(shape[start:end]), product([size for size in made if size != -1])
        free = whole // rest if whole is not None and rest else None
        made = [free if size == -1 else size for size in made]
    return [(*shape[:start], *made, *shape[end:])]


def _tile(param: Any, bottoms: list[KnownShape | None], tops: int) -> list[KnownShape | None]:
    shape = bottoms[0]
    assert shape is not None
    at = axis_of(param.tile_param.axis, shape)
    return [tuple(_times(size, param.tile_param.tiles if k == at else 1) for k, size in enumerate(shape))]


def _times(size: Size, count: int) -> Size:
    return None if size is None else size * count


def _crop(param: Any, bottoms: list[KnownShape | None], tops: int) -> list[KnownShape | None]:
    shape, like = bottoms[0], bottoms[1] if len(bottoms) > 1 else None
    assert shape is not None
    at = axis_of(param.crop_param.axis, shape)
    return [(*shape[:at], *(like[at:] if like is not None else [None] * (len(shape) - at)))]


def _reduction(param: Any, bottoms: list[KnownShape | None], tops: int) -> list[KnownShape | None]:
    assert bottoms[0] is not None
    return [bottoms[0][: axis_of(param.reduction_param.axis, bottoms[0])]]


def _rows_chosen(param: Any, bottoms: list[KnownShape | None], tops: int) -> list[KnownShape | None]:
    return [None if shape is None else (None, *shape[1:]) for shape in bottoms[:tops]]


_SOURCES: Mapping[str, _Rule] = {
    "Input": _input, "DummyData": _input, "Data": _data, "ImageData": _data, "WindowData": _data,
}  # fmt: skip
_RULES: Mapping[str, _Rule] = {
    **_SOURCES, "Convolution": _convolution, "Deconvolution": _convolution, "DepthwiseConvolution": _convolution,
    "ConvolutionDepthwise": _convolution, "Pooling": _pooling, "InnerProduct": _inner_product, "Embed": _embed,
    "Concat": _concat, "Slice": _slice, "Flatten": _flatten, "Reshape": _reshape, "Tile": _tile, "Crop": _crop,
    "Reduction": _reduction, "BatchReindex": _rows_chosen, "Filter": _rows_chosen,
}  # fmt: skip
