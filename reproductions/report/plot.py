"""A pair of axes and what stands between them, drawn for a phone and for a desk, with labels where nothing else is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

from reproductions.report.svg import SIZE, Axis, Point, chart, mark, number, picture, tip

NARROW, WIDE = 320, 520  # pixels: of a phone's screen, and of half a desk's
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 12, 42  # margins, pixels
HEADING = 18  # what a heading adds to the margin on top
LETTER, LINE = 7.4, 14.0  # width of a bold letter and height of a line, of text of 12 pixels
TURNED = 0.64  # sine of the 40 degrees by which names below an axis are turned where they do not fit level
Box = tuple[float, float, float, float]  # left, top, right, bottom
# Where a label may stand around its point, best first: across and down, -1, 0 or 1 each.
SIDES = ((1, 0), (1, -1), (1, 1), (-1, 0), (-1, -1), (-1, 1), (0, -1), (0, 1))
DISTANCES = (7, 13, 21, 31, 43, 57, 75)  # pixels
FAR = 21  # from here on a thin line leads from the label to its point


@dataclass
class Plot:
    """One pair of axes and what is drawn between them.

    title, description: what a reader hears who cannot see it. height: pixels. left: margin for the texts of the y axis.
    right: margin on the right, for labels. heading: a text above the axes, where a figure has several plots.
    """

    title: str
    description: str
    x: Axis
    y: Axis
    height: int = 300
    left: int = LEFT
    right: int = RIGHT
    heading: str = ""
    drawn: list[Callable[[Frame], None]] = field(default_factory=list)
    labels: list[tuple[str, float, float, int | None]] = field(default_factory=list)

    def line(self, points: Sequence[Point], series: int, style: str = "") -> None:
        """A line through the points. style: "", "dashed", "dotted" or "faint"."""
        self.drawn.append(lambda frame: frame.line(points, series, style))

    def dots(self, points: Sequence[Point], series: int, texts: Sequence[str] = (), style: str = "") -> None:
        """A mark at every point; `texts` are shown when one points at it. style: "", "hollow" or "faint"."""
        self.drawn.append(lambda frame: frame.dots(points, series, texts, style))

    def bar(self, x: float, width: float, value: float, series: int, text: str = "", style: str = "") -> None:
        """An upright bar from the lower end of the y axis; x and width in units of the x axis; style "" or "hollow"."""
        self.drawn.append(lambda frame: frame.bar(x, width, value, series, text, style))

    def rule(self, x: float | None = None, y: float | None = None) -> None:
        """A dashed line across at one value; what it is stands in the legend."""
        self.drawn.append(lambda frame: frame.rule(x, y))

    def label(self, text: str, x: float, y: float, series: int | None = None) -> None:
        """A text beside the point, where no mark, line or other label is; series: whose colour it has."""
        self.labels.append((text, x, y, series))

    def svg(self) -> str:
        """The picture, for narrow and for wide screens."""
        return chart(*(Frame(self, width).svg() for width in (NARROW, WIDE)))


class Frame:
    """One drawing of a plot, `width` pixels wide; `taken` are the boxes where something is, which labels keep off."""

    def __init__(self, plot: Plot, width: int) -> None:
        self.plot, self.width = plot, width
        self.right = width - plot.right
        self.top = TOP + (HEADING if plot.heading else 0)
        names = [text for _, text in plot.x.marks()] if plot.x.names else []
        self.slot = (self.right - plot.left) / max(len(names), 1)
        longest = max((LETTER * len(name) for name in names), default=0.0)
        self.turned = longest > self.slot - 4
        self.bottom = plot.height - BOTTOM - (TURNED * longest if self.turned else 0)
        self.body: list[str] = []
        self.taken: list[Box] = []
        self.written: list[Box] = []

    def place(self, x: float, y: float) -> Point:
        """The point in pixels; y grows upwards on the axis and downwards in the picture."""
        across = self.plot.left + self.plot.x.share(x) * (self.right - self.plot.left)
        return across, self.bottom - self.plot.y.share(y) * (self.bottom - self.top)

    def svg(self) -> str:
        for draw in self.plot.drawn:
            draw(self)
        for text, x, y, series in self.plot.labels:
            self.label(text, x, y, series)
        return picture(self.plot.title, self.plot.description, self.width, self.plot.height, [*self.axes(), *self.body])

    def line(self, points: Sequence[Point], series: int, style: str) -> None:
        places = [self.place(*point) for point in points]
        text = " ".join(f"{number(x)},{number(y)}" for x, y in places)
        self.body.append(f'<polyline class="{f"line s{series} {style}".strip()}" points="{text}"/>')
        for start, end in pairwise(places):
            self.keep_off(start, end)

    def keep_off(self, start: Point, end: Point) -> None:
        """Take what lies along a straight line."""
        steps = max(1, round(max(abs(end[0] - start[0]), abs(end[1] - start[1])) / 4))
        for step in range(steps + 1):
            x, y = (a + (b - a) * step / steps for a, b in zip(start, end, strict=True))
            self.taken.append((x - 1.5, y - 1.5, x + 1.5, y + 1.5))

    def dots(self, points: Sequence[Point], series: int, texts: Sequence[str], style: str) -> None:
        for place, point in enumerate(points):
            x, y = self.place(*point)
            self.body.append(mark(x, y, series, texts[place] if place < len(texts) else "", style))
            self.taken.append((x - SIZE - 1, y - SIZE - 1, x + SIZE + 1, y + SIZE + 1))

    def bar(self, x: float, width: float, value: float, series: int, text: str, style: str) -> None:
        left, top = self.place(x - width / 2, value)
        right, bottom = self.place(x + width / 2, self.plot.y.low)
        shape = f'x="{number(left)}" y="{number(top)}" width="{number(right - left)}" height="{number(bottom - top)}"'
        self.body.append(f'<rect class="{f"bar s{series} {style}".strip()}" {shape}>{tip(text)}</rect>')
        self.taken.append((left, top, right, bottom))

    def rule(self, x: float | None, y: float | None) -> None:
        ends = (
            (self.place(self.plot.x.low, y), self.place(self.plot.x.high, y))
            if y is not None
            else (self.place(x or 0.0, self.plot.y.low), self.place(x or 0.0, self.plot.y.high))
        )
        (left, bottom), (right, top) = ends
        self.body.append(f'<path class="rule" d="M{number(left)} {number(bottom)}L{number(right)} {number(top)}"/>')
        self.keep_off(*ends)

    def label(self, text: str, x: float, y: float, series: int | None) -> None:
        """The text at the nearest place around the point where nothing is; it counts as taken from then on."""
        point = self.place(x, y)
        boxes = [(distance, self.beside(text, point, side, distance)) for distance in DISTANCES for side in SIDES]
        inside = [(distance, box) for distance, box in boxes if self.holds(box)] or boxes
        distance, box = min(inside, key=lambda each: (self.covered(each[1]), each[0]))
        if distance >= FAR:
            near = min(max(point[0], box[0]), box[2]), min(max(point[1], box[1]), box[3])
            ends = " L".join(f"{number(a)} {number(b)}" for a, b in (point, near))
            self.body.append(f'<path class="lead" d="M{ends}"/>')
        style = "note" if series is None else f"note own s{series}"
        self.write(text, box[0], box[3] - 3.5, style)
        self.taken.append(box)
        self.written.append(box)

    def beside(self, text: str, point: Point, side: tuple[int, int], distance: float) -> Box:
        wide = LETTER * len(text)
        left = point[0] + side[0] * distance - (0, wide / 2, wide)[(side[0] == 0) + 2 * (side[0] < 0)]
        middle = point[1] + side[1] * (distance + (LINE / 2 - 3 if side[0] == 0 else 0))
        return left, middle - LINE / 2, left + wide, middle + LINE / 2

    def holds(self, box: Box) -> bool:
        return box[0] > self.plot.left and box[2] < self.width and box[1] > self.top - LINE / 2 and box[3] < self.bottom

    def covered(self, box: Box) -> float:
        """How much of a box is taken, pixels squared."""
        return sum(
            max(0.0, min(box[2], right) - max(box[0], left)) * max(0.0, min(box[3], bottom) - max(box[1], top))
            for left, top, right, bottom in self.taken
        )

    def write(self, text: str, x: float, y: float, style: str) -> None:
        self.body.append(f'<text class="{style}" x="{number(x)}" y="{number(y)}">{escape(text)}</text>')

    def axes(self) -> list[str]:
        left, right, bottom = self.plot.left, number(self.right), number(self.bottom)
        drawn = [f'<path class="axis" d="M{left} {self.top}V{bottom}H{right}"/>']
        if self.plot.heading:
            drawn.append(f'<text class="note" x="{left}" y="14">{escape(self.plot.heading)}</text>')
        drawn += [self.under(value, text) for value, text in self.plot.x.marks()]
        for value, text in self.plot.y.marks():
            level = self.place(self.plot.x.low, value)[1]
            drawn.append(f'<path class="grid" d="M{left} {number(level)}H{right}"/>')
            drawn.append(f'<text class="tick end" x="{left - 5}" y="{number(level + 4)}">{escape(text)}</text>')
        middle = number((left + self.right) / 2)
        name = escape(self.plot.x.label)
        drawn.append(f'<text class="name middle" x="{middle}" y="{self.plot.height - 6}">{name}</text>')
        if self.plot.y.label:
            turned = f'transform="translate(13 {number((self.top + self.bottom) / 2)}) rotate(-90)"'
            drawn.append(f'<text class="name middle" {turned}>{escape(self.plot.y.label)}</text>')
        return drawn

    def under(self, value: float, text: str) -> str:
        """A text below the x axis, turned where the names of the axis do not fit beside one another."""
        across = self.place(value, self.plot.y.low)[0]
        if self.turned:
            turned = f'transform="translate({number(across + 4)} {number(self.bottom + 12)}) rotate(-40)"'
            return f'<text class="tick end" {turned}>{escape(text)}</text>'
        return f'<text class="tick middle" x="{number(across)}" y="{number(self.bottom + 16)}">{escape(text)}</text>'
