"""The figures of the page: each one or more plots, what the marks mean, and the numbers as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from reproductions.report.svg import WIDTH, Axis, Plot, Point, picture, swatch, swatch_line

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


def curves(
    name: str,
    title: str,
    caption: str,
    lines: Sequence[tuple[str, int, str, Sequence[Point]]],
    label: str,
    ends: Sequence[str] = (),
) -> Figure | None:
    """Error against iterations; lines: (text, series, style, points). ends: what stands at the end of each line."""
    lines = [line for line in lines if len(line[3]) > 1]
    if not lines:
        return None
    errors = sorted(error for *_, points in lines for _, error in points)
    # The first tests of a run from the fillers are near chance; they would press all others together.
    top = min(errors[-1], errors[0] + 3 * (errors[len(errors) // 2] - errors[0]) + 1)
    x = Axis("iterations", 0, max(points[-1][0] for *_, points in lines))
    room = top - errors[0] or 1.0
    y = Axis(label, errors[0] - 0.05 * room, errors[0] + room)
    plot = Plot(title, caption, x, y)
    for _, series, style, points in lines:
        plot.line([(at, min(error, top)) for at, error in points], series, style)
    for text, (_, series, _, points) in zip(ends, lines, strict=False):
        across, down = plot.place(points[-1][0], min(points[-1][1], top))
        down += 10 if series % 2 else -2  # lines of two series often end at one point
        style, aside = ("note", 3) if across < WIDTH - 60 else ("note end", -6)
        plot.write(text, across + aside, down, style)
    keys = dict.fromkeys((swatch_line(series, style), text) for text, series, style, _ in lines)
    rows = tuple(
        (text, f"{points[-1][0]:,.0f}", f"{points[-1][1]:.2f}", f"{min(error for _, error in points):.2f}")
        for text, _, _, points in lines
    )
    head = ("run", "last iteration", "last", "lowest")
    return Figure(name, title, caption, (plot.svg(),), tuple(keys), head, rows)


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
    size, gap, head = 8.0, 10.0, 22.0
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
