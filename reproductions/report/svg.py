"""Plots as SVG text: axes, lines, marks and bars, without any drawing library, the same text for the same numbers.

A plot is `WIDTH` units wide, so that two fit beside one another on a desk and one fits a phone with letters that can
be read. Colours are the classes s0, s1, ... of page.css, which has them for light and dark; every series also has a
mark of its own shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH = 400
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 38  # margins, units
HEADING = 16  # what a heading adds to the margin on top
SIZE = 4.0  # half the width of a mark
Point = tuple[float, float]


def number(value: float) -> str:
    """A coordinate: at most two decimals, none that say nothing."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values from `low` to `high`, about `count` of them, 1, 2, 2.5 or 5 apart times a power of ten."""
    if high <= low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 10) for place in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class Axis:
    """What an axis shows, from `low` to `high`. logarithmic: in powers of ten. names: texts at 0, 1, 2, ... instead."""

    label: str
    low: float
    high: float
    logarithmic: bool = False
    names: Sequence[str] = ()

    def share(self, value: float) -> float:
        """Where `value` lies, 0 at low and 1 at high."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def marks(self) -> list[tuple[float, str]]:
        """The values that get a tick, and their texts."""
        if self.names:
            return [(float(place), name) for place, name in enumerate(self.names)]
        if self.logarithmic:
            powers = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            return [(10.0**power, f"{10.0**power:g}") for power in powers]
        return [(value, tick_text(value)) for value in ticks(self.low, self.high)]


def tick_text(value: float) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 1000 and value % 100 == 0 else f"{value:g}"


def around(label: str, values: Iterable[float], least: float | None = None, most: float | None = None) -> Axis:
    """An axis that holds all `values` with some room; `least` and `most` are ends that it must not pass."""
    found = list(values) or [0.0, 1.0]
    low, high = min(found), max(found)
    room = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    low, high = low - room, high + room
    return Axis(label, low if least is None else max(low, least), high if most is None else min(high, most))


@dataclass
class Plot:
    """One pair of axes and what is drawn between them.

    title, description: what a reader hears who cannot see it. height: units. left: margin for the texts of the y axis.
    heading: a text above the axes, where a figure has several plots.
    """

    title: str
    description: str
    x: Axis
    y: Axis
    height: int = 280
    left: int = LEFT
    heading: str = ""
    body: list[str] = field(default_factory=list)

    @property
    def top(self) -> int:
        """Where the y axis ends."""
        return TOP + (HEADING if self.heading else 0)

    def place(self, x: float, y: float) -> Point:
        """The point in units; y grows upwards on the axis and downwards in the picture."""
        across = self.left + self.x.share(x) * (WIDTH - self.left - RIGHT)
        return across, self.height - BOTTOM - self.y.share(y) * (self.height - self.top - BOTTOM)

    def line(self, points: Sequence[Point], series: int, style: str = "") -> None:
        """A line through the points. style: "", "dashed" or "faint"."""
        places = " ".join(f"{number(x)},{number(y)}" for x, y in (self.place(*point) for point in points))
        self.body.append(f'<polyline class="{f"line s{series} {style}".strip()}" points="{places}"/>')

    def dots(self, points: Sequence[Point], series: int, texts: Sequence[str] = (), style: str = "") -> None:
        """A mark at every point; `texts` are shown when one points at it. style: "", "hollow" or "faint"."""
        for place, point in enumerate(points):
            text = texts[place] if place < len(texts) else ""
            self.body.append(mark(*self.place(*point), series, text, style))

    def bar(self, x: float, width: float, value: float, series: int, text: str = "", style: str = "") -> None:
        """An upright bar from the lower end of the y axis; x and width in units of the x axis; style "" or "hollow"."""
        left, top = self.place(x - width / 2, value)
        right, bottom = self.place(x + width / 2, self.y.low)
        shape = f'x="{number(left)}" y="{number(top)}" width="{number(right - left)}" height="{number(bottom - top)}"'
        self.body.append(f'<rect class="{f"bar s{series} {style}".strip()}" {shape}>{tip(text)}</rect>')

    def rule(self, text: str, x: float | None = None, y: float | None = None, at: float = 0.0) -> None:
        """A dashed line across at one value, with its text below a level one; at: where, 0 on the left and 1 right."""
        if y is not None:
            (left, level), (right, _) = self.place(self.x.low, y), self.place(self.x.high, y)
            self.body.append(f'<path class="rule" d="M{number(left)} {number(level)}H{number(right)}"/>')
            self.write(text, left + 4 + at * (right - left), level + 12, "note")
        if x is not None:
            (across, bottom), (_, top) = self.place(x, self.y.low), self.place(x, self.y.high)
            self.body.append(f'<path class="rule" d="M{number(across)} {number(bottom)}V{number(top)}"/>')
            self.write(text, across + 3, top + 10, "note")

    def label(self, text: str, x: float, y: float) -> None:
        """A small text beside the point."""
        across, down = self.place(x, y)
        self.write(text, across + 6, down - 5, "note")

    def write(self, text: str, x: float, y: float, style: str) -> None:
        self.body.append(f'<text class="{style}" x="{number(x)}" y="{number(y)}">{escape(text)}</text>')

    def svg(self) -> str:
        """The picture."""
        return picture(self.title, self.description, WIDTH, self.height, [*self._axes(), *self.body])

    def _axes(self) -> list[str]:
        right, bottom = WIDTH - RIGHT, self.height - BOTTOM
        drawn = [f'<path class="axis" d="M{self.left} {self.top}V{bottom}H{right}"/>']
        if self.heading:
            drawn.append(f'<text class="note" x="{self.left}" y="14">{escape(self.heading)}</text>')
        for value, text in self.x.marks():
            across = number(self.place(value, self.y.low)[0])
            drawn.append(f'<text class="tick middle" x="{across}" y="{bottom + 14}">{escape(text)}</text>')
        for value, text in self.y.marks():
            level = self.place(self.x.low, value)[1]
            drawn.append(f'<path class="grid" d="M{self.left} {number(level)}H{right}"/>')
            drawn.append(f'<text class="tick end" x="{self.left - 5}" y="{number(level + 3.5)}">{escape(text)}</text>')
        middle = number((self.left + right) / 2)
        drawn.append(f'<text class="name middle" x="{middle}" y="{self.height - 6}">{escape(self.x.label)}</text>')
        if self.y.label:
            turned = f'transform="translate(12 {number((self.top + bottom) / 2)}) rotate(-90)"'
            drawn.append(f'<text class="name middle" {turned}>{escape(self.y.label)}</text>')
        return drawn


def mark(x: float, y: float, series: int, text: str = "", style: str = "") -> str:
    """A circle, square, triangle or diamond, as the series has it."""
    corners: dict[int, Sequence[Point]] = {
        1: ((-1, -1), (1, -1), (1, 1), (-1, 1)),
        2: ((0, -1.2), (1.1, 0.9), (-1.1, 0.9)),
        3: ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
    }
    style = f"mark s{series} {style}".strip()
    if series % 4 == 0:
        return f'<circle class="{style}" cx="{number(x)}" cy="{number(y)}" r="{number(SIZE)}">{tip(text)}</circle>'
    size = 0.9 * SIZE
    places = " ".join(f"{number(x + across * size)},{number(y + down * size)}" for across, down in corners[series % 4])
    return f'<polygon class="{style}" points="{places}">{tip(text)}</polygon>'


def tip(text: str) -> str:
    return f"<title>{escape(text)}</title>" if text else ""


def swatch(series: int, style: str = "") -> str:
    """The mark of a series alone, for a legend."""
    return f'<svg class="swatch" viewBox="0 0 14 12" aria-hidden="true">{mark(7, 6, series, style=style)}</svg>'


def swatch_line(series: int, style: str = "") -> str:
    """A piece of a line of a series, for a legend."""
    piece = f'<path class="{f"line s{series} {style}".strip()}" d="M0 6H14"/>'
    return f'<svg class="swatch" viewBox="0 0 14 12" aria-hidden="true">{piece}</svg>'


def swatch_bar(series: int, style: str = "") -> str:
    """A piece of a bar of a series, for a legend."""
    piece = f'<rect class="{f"bar s{series} {style}".strip()}" x="1" y="1" width="12" height="10"/>'
    return f'<svg class="swatch" viewBox="0 0 14 12" aria-hidden="true">{piece}</svg>'


def picture(title: str, description: str, width: int, height: int, body: Iterable[str]) -> str:
    """An SVG element with the title and description that make it readable without eyes."""
    head = f'<svg viewBox="0 0 {width} {height}" role="img">'
    return "\n".join([f"{head}<title>{escape(title)}</title><desc>{escape(description)}</desc>", *body, "</svg>"])
