"""The best that has been landed for each number of the paper, so that none gets worse unseen.

`python -m reproductions.report` takes numbers that are better now, or new, into results/best/numbers.csv; a test fails
where one is worse than there beyond its tolerance. Guarded are errors, average rank ratios and speedups; single ranks
are not, for layers trade them. tolerance: twice the standard deviation over seeds, and at least LEAST. A row of the
paper may trade one number for another: it got worse only where none of its numbers got better beyond its tolerance.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from reproductions.comparison import Line, Ours
from reproductions.runs import HERE

FILE = "results/best/numbers.csv"
LOWER, HIGHER = "lower", "higher"
GUARDED = {  # metric of paper.csv: which is better
    "error": LOWER,
    "top-1 error": LOWER,
    "top-5 error": LOWER,
    "average rank ratio": LOWER,
    "CPU speedup": HIGHER,
    "GPU speedup": HIGHER,
    "theoretical speedup": HIGHER,
}
LEAST = {"percent": 0.2, "share": 0.002}
LEAST_SHARE = 0.15  # of a speedup: times on a machine that others use too vary as much


@dataclass(frozen=True)
class Best:
    """One guarded number: where it stands in paper.csv, its value and tolerance in the paper's unit."""

    source: str
    row: str
    metric: str
    layer: str
    value: float
    tolerance: float

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.source, self.row, self.metric, self.layer

    def is_better_than(self, other: Best) -> bool:
        return self.value < other.value if GUARDED[self.metric] == LOWER else self.value > other.value

    def is_worse_than(self, other: Best) -> bool:
        """Whether it is worse than `other` by more than the larger tolerance of the two."""
        return other.is_better_than(self) and abs(self.value - other.value) > max(self.tolerance, other.tolerance)


def current(tables: Mapping[str, Sequence[Line]]) -> list[Best]:
    """The guarded numbers of the runs that answer the paper's rows now."""
    return [
        Best(p.source, p.row, p.metric, p.layer, round(cell.ours.value, 4), tolerance(cell.ours, p.unit))
        for lines in tables.values()
        for line in lines
        for cell in line.cells
        if cell.ours is not None and (p := cell.published).metric in GUARDED
    ]


def tolerance(ours: Ours, unit: str) -> float:
    least = LEAST.get(unit, LEAST_SHARE * ours.value)
    return round(max(2 * ours.spread, least), 4)


def worsened(landed: Iterable[Best], now: Iterable[Best]) -> list[str]:
    """One line for each landed number that is gone, or worse beyond its tolerance in a row without anything better."""
    found = {each.key: each for each in now}
    landed = list(landed)
    traded = traded_rows(landed, found)
    lines = []
    for best in landed:
        name = ", ".join(filter(None, best.key))
        each = found.get(best.key)
        if each is None:
            lines.append(f"{name}: was {best.value:g}, and no run answers it any more")
        elif each.is_worse_than(best) and best.key[:2] not in traded:
            lines.append(f"{name}: was {best.value:g} +- {best.tolerance:g}, is {each.value:g}")
    return lines


def traded_rows(landed: Iterable[Best], found: Mapping[tuple[str, str, str, str], Best]) -> set[tuple[str, str]]:
    """Source and row of those in which a number is better than landed, beyond its tolerance."""
    pairs = ((best, found[best.key]) for best in landed if best.key in found)
    return {best.key[:2] for best, each in pairs if best.is_worse_than(each)}


def updated(landed: Iterable[Best], now: Iterable[Best]) -> list[Best]:
    """The landed numbers with new ones, with those that are better now, and with all of a row that traded."""
    kept = {each.key: each for each in landed}
    found = {each.key: each for each in now}
    traded = traded_rows(list(kept.values()), found)
    for each in found.values():
        if each.key not in kept or each.is_better_than(kept[each.key]) or each.key[:2] in traded:
            kept[each.key] = each
    return list(kept.values())


def read_best(root: Path = HERE) -> list[Best]:
    """The numbers in the file below `root`; none where it is missing."""
    path = root / FILE
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [
            Best(row["source"], row["row"], row["metric"], row["layer"], float(row["value"]), float(row["tolerance"]))
            for row in csv.DictReader(stream)
        ]


def best_text(numbers: Iterable[Best]) -> str:
    """The file that holds them."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [each.name for each in fields(Best)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(each) for each in numbers)
    return stream.getvalue()
