"""Places for the boxes of a graph, level by level from top to bottom, with few crossings and straight long edges.

The method of Sugiyama, Tagawa and Toda (1981): levels by the longest path, a point on every level that an edge passes,
an order on each level by the mean place of the neighbours, and places that keep the order.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Edge = tuple[int, int]

_SWEEPS = 16
_GAP = 22.0  # between boxes of one level
_POINT = 14.0  # the room that a passing edge has
_TO_THE_MIDDLE = 0.2  # how much the middle line pulls beside a neighbour's 1; without it long nets wander off
_STIFFNESS = 8.0  # how much more a long edge resists bending than a box resists moving


@dataclass(frozen=True)
class Layout:
    """levels, centres: of each box, from 0 on. routes: {edge: (level, x) of each level it passes}. width: of all."""

    levels: tuple[int, ...]
    centres: tuple[float, ...]
    routes: Mapping[Edge, tuple[tuple[int, float], ...]]
    width: float


def lay_out(widths: Sequence[float], edges: Sequence[Edge]) -> Layout:
    """Places for boxes of the given widths; every edge leads from a box to one with a larger number."""
    edges = list(dict.fromkeys(edges))
    levels = _levels(len(widths), edges)
    points = _Points(widths, levels, edges)
    _order(points)
    places = _places(points)
    left = min((places[i] - points.widths[i] / 2 for i in range(len(places))), default=0.0)
    right = max((places[i] + points.widths[i] / 2 for i in range(len(places))), default=0.0)
    centres = [place - left for place in places]
    routes = {
        edge: tuple((points.levels[point], centres[point]) for point in chain) for edge, chain in points.chains.items()
    }
    return Layout(tuple(levels), tuple(centres[: len(widths)]), routes, right - left)


def _levels(count: int, edges: Sequence[Edge]) -> list[int]:
    """The longest path to each box; a box without predecessors stands right above the first that needs it."""
    levels = [0] * count
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        levels[target] = max(levels[target], levels[source] + 1)
    targets = {target for _, target in edges}
    followers: dict[int, list[int]] = {}
    for source, target in edges:
        followers.setdefault(source, []).append(levels[target])
    for box in range(count):
        if box not in targets and box in followers:
            levels[box] = min(followers[box]) - 1
    return levels


class _Points:
    """Boxes, then the points in which edges pass the levels between their ends."""

    def __init__(self, widths: Sequence[float], levels: Sequence[int], edges: Sequence[Edge]) -> None:
        self.boxes = len(widths)
        self.widths, self.levels = list(widths), list(levels)
        self.above: list[list[int]] = [[] for _ in widths]
        self.below: list[list[int]] = [[] for _ in widths]
        self.chains: dict[Edge, list[int]] = {}
        for source, target in edges:
            chain = self.chains[source, target] = []
            last = source
            for level in range(levels[source] + 1, levels[target]):
                chain.append(len(self.widths))
                self.widths.append(_POINT)
                self.levels.append(level)
                self.above.append([])
                self.below.append([])
                self._join(last, chain[-1])
                last = chain[-1]
            self._join(last, target)
        self.rows: list[list[int]] = [[] for _ in range(max(self.levels, default=-1) + 1)]
        for point in self._first_seen():
            self.rows[self.levels[point]].append(point)

    def _join(self, upper: int, lower: int) -> None:
        self.below[upper].append(lower)
        self.above[lower].append(upper)

    def _first_seen(self) -> list[int]:
        """All points, those that hang together next to each other."""
        seen: dict[int, None] = {}
        for start in sorted(range(len(self.widths)), key=lambda point: self.levels[point]):
            stack = [start]
            while stack:
                point = stack.pop()
                if point not in seen:
                    seen[point] = None
                    stack += reversed(self.below[point])
        return list(seen)


def _order(points: _Points) -> None:
    """Sort every row by the mean place of its neighbours, down and up in turn; keep the order with fewest crossings."""
    best, fewest = [list(row) for row in points.rows], _crossings(points)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        rows = points.rows if down else points.rows[::-1]
        neighbours = points.above if down else points.below
        for upper, row in pairwise(rows):
            place = {point: i for i, point in enumerate(upper)}
            own = {point: i for i, point in enumerate(row)}
            mean = {
                point: sum(place[n] for n in neighbours[point]) / len(neighbours[point])
                if neighbours[point]
                else float(own[point])
                for point in row
            }
            row.sort(key=lambda point: mean[point])
        crossings = _crossings(points)
        if crossings < fewest:
            best, fewest = [list(row) for row in points.rows], crossings
        if not fewest:
            break
    points.rows = best


def _crossings(points: _Points) -> int:
    total = 0
    for upper, row in pairwise(points.rows):
        place = {point: i for i, point in enumerate(row)}
        ends: list[int] = []
        for point in upper:
            targets = sorted(place[n] for n in points.below[point])
            total += sum(len(ends) - bisect_right(ends, target) for target in targets)
            for target in targets:
                insort(ends, target)
    return total


def _places(points: _Points) -> list[float]:
    """x of every point: near the mean of its neighbours, in the order of its row, without overlap."""
    places = [0.0] * len(points.widths)
    for row in points.rows:
        x = 0.0
        for point in row:
            places[point] = x + points.widths[point] / 2
            x += points.widths[point] + _GAP
        for point in row:
            places[point] -= x / 2
    for sweep in range(2 * _SWEEPS):
        for row in points.rows if sweep % 2 == 0 else points.rows[::-1]:
            wanted = [_wanted(points, places, point) for point in row]
            stiff = [_STIFFNESS if point >= points.boxes else 1.0 for point in row]
            for point, x in zip(row, _apart(wanted, stiff, [points.widths[point] for point in row]), strict=True):
                places[point] = x
    return places


def _wanted(points: _Points, places: Sequence[float], point: int) -> float:
    """The weighted mean of the neighbours, and of the middle line, at which a box stands that is alone in its row."""
    if len(points.rows[points.levels[point]]) == 1:
        return 0.0
    near = [*points.above[point], *points.below[point]]
    weights = [_STIFFNESS if point >= points.boxes and each >= points.boxes else 1.0 for each in near]
    pulled = sum(places[each] * weight for each, weight in zip(near, weights, strict=True))
    return pulled / (sum(weights) + _TO_THE_MIDDLE)


def _apart(wanted: Sequence[float], weights: Sequence[float], widths: Sequence[float]) -> list[float]:
    """The places nearest to those wanted (weighted least squares) that keep the order and the gaps.

    Less what must lie to the left of each, that is isotonic regression: neighbours out of order become a block with
    their mean.
    """
    offsets = [0.0]
    for left, right in pairwise(widths):
        offsets.append(offsets[-1] + (left + right) / 2 + _GAP)
    blocks: list[tuple[float, float, int]] = []  # mean, weight, count
    for place, weight, offset in zip(wanted, weights, offsets, strict=False):
        mean, count = place - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, other_weight, other_count = blocks.pop()
            mean = (mean * weight + other * other_weight) / (weight + other_weight)
            weight, count = weight + other_weight, count + other_count
        blocks.append((mean, weight, count))
    flat = [mean for mean, _, count in blocks for _ in range(count)]
    return [mean + offset for mean, offset in zip(flat, offsets, strict=False)]
