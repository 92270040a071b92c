"""The figures of the page: each one or more plots, what the marks mean, and the numbers as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from reproductions.report.plot import Plot
from reproductions.report.svg import Axis, Point, chart, picture, swatch, swatch_line

# Colour and mark of a method, by the first of these words that it begins with.
SERIES = (
    ("l2, ", 6),
    ("l2", 1),
    ("force", 1),
    ("l1", 2),
    ("nuclear", 3),
    ("hoyer", 4),
    ("trained", 5),
    ("none", 0),
    ("baseline", 0),
    ("public", 0),
)

COLOURS = 8  # of page.css
STYLES = ("", "dashed", "dotted")


@dataclass(frozen=True)
class Figure:
    """pictures: SVG texts, drawn beside one another. legend: (swatch, text). head, rows: the numbers behind."""

    name: str
    title: str
    caption: str
    pictures: tuple[str, ...]
    legend: tuple[tuple[str, str], ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def series_of(method: str) -> int:
    """The series of a method, 7 for one that is none of SERIES."""
    return next((series for word, series in SERIES if method.lower().startswith(word)), 7)


def legend(entries: Iterable[tuple[int, str, str]]) -> tuple[tuple[str, str], ...]:
    """(series, style, text) -> (swatch, text)."""
    return tuple((swatch(series, style), text) for series, style, text in entries)


def method_legend(methods: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """One entry for each series, with the shortest of its names."""
    names: dict[int, str] = {}
    for method in methods:
        series = series_of(method)
        names[series] = min(names.get(series, method), method, key=len)
    return legend((series, "", name) for series, name in names.items())


@dataclass(frozen=True)
class Curve:
    """Points of runs that differ in their seed alone. text: for the legend; short: what stands at the line's end."""

    text: str
    short: str
    runs: tuple[tuple[Point, ...], ...]

    def mean(self) -> list[Point]:
        """The mean of the runs wherever all of them have a point."""
        values = [dict(points) for points in self.runs]
        shared = [x for x, _ in self.runs[0] if all(x in each for each in values)]
        return [(x, sum(each[x] for each in values) / len(values)) for x in shared]


def by_text(lines: Iterable[tuple[str, str, Sequence[Point]]]) -> list[Curve]:
    """Runs of one text together: (text, short, points) of each."""
    found: dict[str, tuple[str, list[tuple[Point, ...]]]] = {}
    for text, short, points in lines:
        if len(points) > 1:
            found.setdefault(text, (short, []))[1].append(tuple(points))
    return [Curve(text, short, tuple(runs)) for text, (short, runs) in found.items()]


def curves(
    name: str, title: str, caption: str, lines: Iterable[tuple[str, str, Sequence[Point]]], label: str
) -> Figure | None:
    """A value, percent, against iterations; lines: (text, short, points), those of one text as their mean."""
    drawn = [(curve, curve.mean()) for curve in by_text(lines)]
    drawn = [(curve, points) for curve, points in drawn if len(points) > 1]
    if not drawn:
        return None
    values = sorted(value for _, points in drawn for _, value in points)
    # The first tests of a run from the fillers are near chance; they would press all others together.
    top = min(values[-1], values[0] + 3 * (values[len(values) // 2] - values[0]) + 1)
    x = Axis("iterations", 0, max(points[-1][0] for _, points in drawn))
    room = top - values[0] or 1.0
    plot = Plot(title, caption, x, Axis(label, values[0] - 0.05 * room, values[0] + room), height=360, right=76)
    for place, (curve, points) in enumerate(drawn):
        shown = [(at, min(value, top)) for at, value in points]
        plot.line(shown, place % COLOURS, STYLES[place // COLOURS % len(STYLES)])
        plot.label(curve.short, *shown[-1], place % COLOURS)
    keys = tuple(
        (swatch_line(place % COLOURS, STYLES[place // COLOURS % len(STYLES)]), seeds_text(curve))
        for place, (curve, _) in enumerate(drawn)
    )
    rows = tuple(
        (seeds_text(curve), f"{points[-1][0]:,.0f}", f"{points[-1][1]:.2f}", f"{min(y for _, y in points):.2f}")
        for curve, points in drawn
    )
    head = ("run", "last iteration", "last %", "lowest %")
    return Figure(name, title, caption, (plot.svg(),), keys, head, rows)


def seeds_text(curve: Curve) -> str:
    return curve.text if len(curve.runs) == 1 else f"{curve.text}, mean of {len(curve.runs)} seeds"


def colours(pixels: Sequence[str], left: float, top: float, size: float) -> list[str]:
    """A picture of rows of hexadecimal colours, drawn in squares."""
    return [
        f'<path fill="#{row[6 * x : 6 * x + 6]}" '
        f'd="M{left + x * size:g} {top + y * size:g}h{size:g}v{size:g}h-{size:g}z"/>'
        for y, row in enumerate(pixels)
        for x in range(len(row) // 6)
    ]


def mosaic(title: str, heading: str, filters: Sequence[Sequence[str]], framed: int, across: int = 8) -> str:
    """Small pictures in rows under a heading; the first `framed` of them with a frame."""
    return chart(*(mosaic_of(title, heading, filters, framed, across, size) for size in (6.0, 8.0)))


def mosaic_of(title: str, heading: str, filters: Sequence[Sequence[str]], framed: int, across: int, size: float) -> str:
    """One drawing of a mosaic, each pixel of a filter `size` pixels wide."""
    gap, head = 8.0, 22.0
    side = len(filters[0]) * size
    body = [f'<text class="note" x="4" y="14">{escape(heading)}</text>']
    for place, pixels in enumerate(filters):
        left = 4 + place % across * (side + gap)
        top = head + 4 + place // across * (side + gap)
        body += colours(pixels, left, top, size)
        if place < framed:
            body.append(
                f'<rect class="frame" x="{left - 2:g}" y="{top - 2:g}" width="{side + 4:g}" height="{side + 4:g}"/>'
            )
    width = 8 + across * (side + gap) - gap
    height = head + 8 + (len(filters) + across - 1) // across * (side + gap) - gap
    return picture(title, "Most energy first; the framed ones make up the rank.", round(width), round(height), body)
