"""The numbers that stand first: on the page's first screen, and in the project's README."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reproductions.comparison import Cell, Line

# Source, row, metric and layer of paper.csv, and what the number is called here.
FIRST = (
    (("Table 2", "ConvNet l2", "average rank ratio", ""), "ConvNet, l2 force: average rank ratio"),
    (("Table 2", "ConvNet l2", "top-1 error", ""), "ConvNet, l2 force: error"),
    (("Table 2", "ConvNet l1", "average rank ratio", ""), "ConvNet, l1 force: average rank ratio"),
    (("Table 2", "ConvNet l1", "top-1 error", ""), "ConvNet, l1 force: error"),
    (("Table 2", "ConvNet none", "top-1 error", ""), "ConvNet, baseline: error"),
    (("Table 7", "ResNet-20 none", "top-1 error", ""), "ResNet-20, baseline: error"),
    (("Table 7", "ResNet-20 l2 discrimination", "top-1 error", ""), "ResNet-20, l2 discrimination: error"),
    (("Table 4", "AlexNet l2", "CPU speedup", "conv3"), "AlexNet, conv3 at rank 124: speedup on a CPU"),
    (("Table 4", "AlexNet l2", "theoretical speedup", "conv3"), "AlexNet, conv3 at rank 124: by multiply-adds"),
)

# The three that are largest on the page.
LEAD = (
    (("Table 2", "ConvNet l2", "average rank ratio", ""), "ConvNet under the l2 force: average rank ratio"),
    (("Table 2", "ConvNet l2", "top-1 error", ""), "its error"),
    (("Table 4", "AlexNet l2", "CPU speedup", "conv3"), "AlexNet's conv3 at rank 124, on a CPU"),
)


def sentences(tables: Mapping[str, Sequence[Line]]) -> list[str]:
    """What was reproduced and what was not, in at most three sentences with computed numbers."""
    ratio, error, speed = (find_cell(tables, *key) for key, _ in LEAD)
    said = []
    if ratio and ratio.ours and error and error.ours and error.difference is not None:
        side = "above" if error.difference > 0 else "below"
        said.append(
            f"Under the l2 force ConvNet's filters fall to {percent(ratio.ours.value)} of their full rank, where the "
            f"paper prints {percent(ratio.published.value)}; its error is then {percent(error.ours.value)}, "
            f"{abs(error.difference):.2f} points {side} the paper's."
        )
    if speed and speed.ours:
        said.append(
            f"At the published rank AlexNet's conv3 runs {speed.ours.value:.2f} times as fast on a CPU, where the "
            f"paper has {speed.published.value:.2f}."
        )
    cells = [cell for lines in tables.values() for line in lines for cell in line.cells]
    answered, waiting = sum(cell.ours is not None for cell in cells), sum(cell.unfinished for cell in cells)
    if answered:
        said.append(
            f"Of the {len(cells)} numbers of the paper {answered} have a counterpart here, and {waiting} wait for runs "
            "that are listed with the command that finishes them."
        )
    return said


def percent(value: float) -> str:
    return f"{value:.2f} %"


def find_cell(tables: Mapping[str, Sequence[Line]], source: str, row: str, metric: str, layer: str) -> Cell | None:
    """The number of the paper with ours; None where paper.csv has none such."""
    cells = (cell for line in tables.get(source, []) if line.row == row for cell in line.cells)
    return next((c for c in cells if (c.published.metric, c.published.layer) == (metric, layer)), None)
