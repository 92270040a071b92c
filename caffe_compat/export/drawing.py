"""Boxes and edges as SVG, to stand inside a page that has the colours."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

from caffe_compat.export.boxes import Box
from caffe_compat.export.placement import Layout, lay_out
from caffe_compat.layers.base import Shape
from caffe_compat.showing import in_html

FAMILIES = {
    "data": "data", "conv": "convolution", "dense": "inner product", "pool": "pooling", "norm": "normalization",
    "act": "activation", "join": "joining", "loss": "loss and measure", "other": "other",
}  # fmt: skip
_FAMILY = {
    "data": "Data DummyData HDF5Data ImageData Input MemoryData Parameter WindowData",
    "conv": "Convolution ConvolutionDepthwise Deconvolution DepthwiseConvolution Im2col",
    "dense": "Embed InnerProduct LSTM RNN",
    "pool": "MaxUnPool PSROIPooling Pooling ROIPooling SPP Upsample",
    "norm": "BatchNorm Bias InstanceNorm L2Norm LRN MVN Normalize Scale",
    "act": "AbsVal BNLL Clip Dropout ELU Exp HardSigmoid Log PReLU Power ReLU ReLU6 Relu6 Sigmoid Softmax Softplus "
    "Swish TanH Threshold",
    "join": "Axpy Concat Crop Eltwise Slice",
    "loss": "Accuracy",
}
_OF_TYPE = {kind: name for name, kinds in _FAMILY.items() for kind in kinds.split()}

_PAD, _LINE = 9.0, 15.0  # in pixels, as all below
_BOLD = 1.2  # how much wider a name is than the other text, which has these letters in a wide font of 11 pixels
_LETTERS = {"\N{MULTIPLICATION SIGN}": 9.3, "→": 9.3, "m": 10.7, "w": 9.0, **dict.fromkeys(" .,/:·ijl1", 4.0), "1": 7.0}
_NARROW, _WIDE = 104.0, 232.0
_BETWEEN = 30.0  # between levels
_MARGIN = 14.0


def family(kind: str) -> str:
    """The family of a layer type, which gives it its colour."""
    return _OF_TYPE.get(kind, "loss" if kind.endswith("Loss") else "other")


def sizes(shape: Shape) -> str:
    return "\N{MULTIPLICATION SIGN}".join(map(str, shape)) or "scalar"


def short(count: int) -> str:
    """A count in three digits: 1,234,567 as 1.23 M."""
    for unit, power in (("G", 9), ("M", 6), ("k", 3)):
        if count >= 10**power:
            return f"{count / 10**power:.3g} {unit}"
    return str(count)


def _length(text: str) -> float:
    return sum(_LETTERS.get(letter, 7.6 if letter.isupper() else 7.0) for letter in text)


def draw(boxes: Sequence[Box], edges: Sequence[tuple[int, int]]) -> tuple[str, float]:
    """An <svg> with a box for each layer, level by level, and a line for each edge; and where its trunk is, pixels.

    The name of box number N links to #layer-N.
    """
    widths = [_width(box) for box in boxes]
    layout = lay_out(widths, edges)
    tops, height = _rows(boxes, layout)
    parts = [_edge(edge, boxes, layout, tops) for edge in layout.routes]
    for number, box in enumerate(boxes):
        drawn = _drawn(box, layout.centres[number] + _MARGIN, tops[layout.levels[number]], widths[number])
        parts.append(f'<a href="#layer-{number}">{drawn}</a>')
    wide, high = layout.width + 2 * _MARGIN, height + _MARGIN
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:.0f}" height="{high:.0f}" '
        f'viewBox="0 0 {wide:.0f} {high:.0f}" role="img">\n' + "\n".join(parts) + "\n</svg>"
    )
    return svg, _trunk(layout) + _MARGIN


def _trunk(layout: Layout) -> float:
    """The middle of the boxes that stand alone on their level; of all boxes where none does."""
    counts = Counter(layout.levels)
    alone = [centre for centre, level in zip(layout.centres, layout.levels, strict=True) if counts[level] == 1]
    return statistics.median(alone or layout.centres or [0.0])


def _lines(box: Box) -> list[str]:
    """What stands in a box below its name and type."""
    lines = [", ".join(dict.fromkeys(map(sizes, box.shapes)))] if box.shapes else []
    parameters = box.parameters + sum(each.parameters for each in box.in_place)
    costs = [f"{short(parameters)} param."] if parameters else []
    costs += [f"{short(box.multiply_adds)} mult-adds"] if box.multiply_adds else []
    lines += [" · ".join(costs)] if costs else []
    return lines + ([f"with {', '.join(box.labels)}"] if box.labels else [])


def _title(box: Box) -> str:
    return f"{box.type} {box.settings}".strip()


def _behind(box: Box) -> str:
    return " → ".join(each.type for each in box.in_place)


def _width(box: Box) -> float:
    texts = [*_lines(box), _title(box), _behind(box)]
    return min(_WIDE, max(_NARROW, 2 * _PAD + max(_BOLD * _length(box.name), *map(_length, texts))))


def _height(box: Box) -> float:
    count = 2 + len(_lines(box)) + bool(box.rank) + bool(box.in_place)
    return 2 * _PAD + count * _LINE


def _rows(boxes: Sequence[Box], layout: Layout) -> tuple[list[float], float]:
    """Where each level begins, and where the last one ends."""
    heights = [0.0] * (max(layout.levels, default=-1) + 1)
    for box, level in zip(boxes, layout.levels, strict=True):
        heights[level] = max(heights[level], _height(box))
    tops, y = [], _MARGIN
    for height in heights:
        tops.append(y)
        y += height + _BETWEEN
    return [*tops, y], y - _BETWEEN


def _edge(edge: tuple[int, int], boxes: Sequence[Box], layout: Layout, tops: Sequence[float]) -> str:
    """A line from the lower side of a box, straight through the levels that it passes, to the upper side of another."""
    source, target = edge
    x, y = layout.centres[source] + _MARGIN, tops[layout.levels[source]] + _height(boxes[source])
    path = f"M{x:.1f} {y:.1f}"
    stops = [(tops[level], place + _MARGIN, tops[level + 1] - _BETWEEN) for level, place in layout.routes[edge]]
    end = tops[layout.levels[target]] - 5
    for upper, place, lower in [*stops, (end, layout.centres[target] + _MARGIN, end)]:
        start = max(y, upper - _BETWEEN + 4)
        middle = (start + upper) / 2
        path += f" V{start:.1f} C{x:.1f} {middle:.1f} {place:.1f} {middle:.1f} {place:.1f} {upper:.1f} V{lower:.1f}"
        x, y = place, lower
    arrow = f'<path class="head" d="M{x - 3.5:.1f} {end - 2:.1f} h7 L{x:.1f} {end + 5:.1f} z"/>'
    return f'<path class="flow" d="{path}"/>{arrow}'


def _drawn(box: Box, centre: float, y: float, width: float) -> str:
    x, height, left = centre - width / 2, _height(box), centre - width / 2 + _PAD
    room = width - 2 * _PAD
    rows = [
        f'<rect class="box" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="5"/>',
        f'<rect class="tint" x="{x:.1f}" y="{y:.1f}" width="3.5" height="{height:.1f}" rx="1.7"/>',
    ]
    line = y + _PAD + 10
    for kind, text in [("name", _fitted(box.name, room / _BOLD)), ("kind", _fitted(_title(box), room))]:
        rows.append(f'<text class="{kind}" x="{left:.1f}" y="{line:.1f}">{in_html(text)}</text>')
        line += _LINE
    for text in _lines(box):
        rows.append(f'<text x="{left:.1f}" y="{line:.1f}">{in_html(_fitted(text, room))}</text>')
        line += _LINE
    if box.rank:
        rows.append(_rank(box, left, line, room))
        line += _LINE
    if box.in_place:
        text = in_html(_fitted(_behind(box), room))
        rows.append(f'<text class="faint" x="{left:.1f}" y="{line:.1f}">{text}</text>')
    tip = "\n".join(f"{each.name}: {_title(each)}" for each in (box, *box.in_place))
    return f'<g class="{family(box.type)}"><title>{in_html(tip)}</title>{"".join(rows)}</g>'


def _rank(box: Box, left: float, line: float, room: float) -> str:
    """The rank as words, and as a bar whose whole length is the largest rank."""
    words = f"rank {box.rank} of {box.largest_rank}"
    start = left + _length(words) + 6
    whole = left + room - start
    if whole < 16:
        return f'<text x="{left:.1f}" y="{line:.1f}">{words}</text>'
    part = whole * min(1.0, box.rank / max(1, box.largest_rank))
    return (
        f'<text x="{left:.1f}" y="{line:.1f}">{words}</text>'
        f'<rect class="bar" x="{start:.1f}" y="{line - 7:.1f}" width="{whole:.1f}" height="6" rx="3"/>'
        f'<rect class="tint" x="{start:.1f}" y="{line - 7:.1f}" width="{part:.1f}" height="6" rx="3"/>'
    )


def _fitted(text: str, room: float) -> str:
    """`text`, letters left out of its middle where it is longer than the room."""
    half = len(text)
    while half > 1 and _length(shown := text if half == len(text) else f"{text[:half]}…{text[-half:]}") > room + 0.1:
        half = min(half - 1, len(text) // 2)
    return shown if half > 1 else text[:1]
