"""What became of nets, as a file: a line a net and form, tabs between net, form, state, way, cut, tree and message."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

COLUMNS = ("net", "form", "state", "way", "before", "tree", "told")


@dataclass(frozen=True)
class Outcome:
    """What became of a net.

    state: "exported", "cut" or "refused". deployed: by way of its deploy net. before: the types of the layers that it
    ends before. told: why it is refused, or the largest error of an output over its largest value. tree: the commit
    that it was measured at; "-" where that was not kept, among several of 2026-11-30.
    """

    state: str
    deployed: bool
    told: str
    before: str = ""
    tree: str = "-"


def read(path: Path) -> dict[tuple[str, str], Outcome]:
    """The outcomes in a file, by net and form."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return {
        (row["net"], row["form"]): Outcome(
            row["state"], row["way"] == "deploy", row["told"], row["before"], row["tree"]
        )
        for row in rows
    }


def write(path: Path, outcomes: dict[tuple[str, str], Outcome]) -> None:
    """The file, in the order of nets and forms."""
    lines = ["\t".join(COLUMNS)]
    for (net, form), each in sorted(outcomes.items()):
        way = "deploy" if each.deployed else ""
        lines.append("\t".join((net, form, each.state, way, each.before, each.tree, each.told)))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
