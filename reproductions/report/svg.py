"""Pieces of plots as SVG text: axes, marks, swatches, without any drawing library, the same text for the same numbers.

Colours are the classes s0, s1, ... of page.css, which has them for light and dark; every series also has a mark of its
own shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

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


def swatch_rule() -> str:
    """A piece of a rule, for a legend."""
    return '<svg class="swatch" viewBox="0 0 14 12" aria-hidden="true"><path class="rule" d="M0 6H14"/></svg>'


def swatch_bar(series: int, style: str = "") -> str:
    """A piece of a bar of a series, for a legend."""
    piece = f'<rect class="{f"bar s{series} {style}".strip()}" x="1" y="1" width="12" height="10"/>'
    return f'<svg class="swatch" viewBox="0 0 14 12" aria-hidden="true">{piece}</svg>'


def picture(title: str, description: str, width: float, height: float, body: Iterable[str]) -> str:
    """An SVG element of this many pixels, with the title and description that make it readable without eyes."""
    size = number(width), number(height)
    head = f'<svg width="{size[0]}" height="{size[1]}" viewBox="0 0 {" ".join(size)}" role="img">'
    return "\n".join([f"{head}<title>{escape(title)}</title><desc>{escape(description)}</desc>", *body, "</svg>"])


def chart(narrow: str, wide: str) -> str:
    """Both drawings of a picture; page.css shows the one that fits, at its own size: no letter is scaled."""
    return f'<div class="chart"><div class="narrow">{narrow}</div><div class="wide">{wide}</div></div>'
