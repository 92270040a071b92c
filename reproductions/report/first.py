"""The numbers that stand first: on the page's first screen, and in the project's README."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reproductions.comparison import SLACK, Cell, Line, error_above_baseline, grouped
from reproductions.runs import Run

CLOSE_RATIO = 0.2  # points of average rank ratio above the paper's that still count as reached
CLOSE_SPEED = 0.05  # share of a speedup by which it may stay below the paper's

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


BY_AUTHORS = "published schedule"  # experiments of runs as long as the authors'


def sentences(tables: Mapping[str, Sequence[Line]], runs: Sequence[Run]) -> list[str]:
    """What of the paper is confirmed, what is not, and what is unfinished: a sentence each, as far as there is one."""
    confirmed, missed = findings_of(tables, runs)
    said = [f"Confirmed: {'; '.join(confirmed)}."] if confirmed else []
    said += [f"Not confirmed: {'; '.join(missed)}."] if missed else []
    return [*said, *waiting(tables, runs)]


def findings_of(tables: Mapping[str, Sequence[Line]], runs: Sequence[Run]) -> tuple[list[str], list[str]]:
    """What was met and what was missed of the numbers in LEAD."""
    ratio, error, speed = (find_cell(tables, *key) for key, _ in LEAD)
    met: list[str] = []
    missed: list[str] = []
    if ratio and ratio.ours and ratio.difference is not None:
        text = (
            f"under the l2 force ConvNet's filters fall to {percent(ratio.ours.value)} of their full rank, where the "
            f"paper has {percent(ratio.published.value)}"
        )
        (met if ratio.difference <= CLOSE_RATIO else missed).append(text)
    if speed and speed.ours and speed.difference is not None:
        text = (
            f"at the published rank AlexNet's conv3 runs {speed.ours.value:.2f} times as fast on a CPU, where the "
            f"paper has {speed.published.value:.2f}"
        )
        (met if speed.difference >= -CLOSE_SPEED * speed.published.value else missed).append(text)
    if error and error.ours and error.difference is not None:
        side = "above" if error.difference > 0 else "below"
        after = f" after {error.group.first.iterations:,} iterations" if error.group else ""
        text = (
            f"that this costs no error: it is {percent(error.ours.value)}{after}, {abs(error.difference):.2f} points "
            f"{side} the paper's{beside_baseline(error, runs)}"
        )
        (met if error.difference <= SLACK else missed).append(text)
    return met, missed


def beside_baseline(cell: Cell, runs: Sequence[Run]) -> str:
    """How far from the run without force beside it; nothing where no such run is named."""
    if cell.group is None or not cell.group.first.baseline:
        return ""
    above = error_above_baseline(cell.group, grouped(runs))
    if above is None:
        return ""
    side = "above" if above > 0 else "below"
    return f" and {abs(above):.2f} {side} the run without force of as many iterations"


def waiting(tables: Mapping[str, Sequence[Line]], runs: Sequence[Run]) -> list[str]:
    """What is unfinished, in one sentence; none where there is no number at all."""
    cells = [cell for lines in tables.values() for line in lines for cell in line.cells]
    answered, unfinished = sum(cell.ours is not None for cell in cells), sum(cell.unfinished for cell in cells)
    if not answered:
        return []
    long = [run for run in runs if run.experiment == BY_AUTHORS and run.network == "convnet"]
    left = [run for run in long if run.status == "unfinished"]
    text = (
        f"{answered} of the paper's {len(cells)} numbers have a counterpart here, {unfinished} wait for runs that are "
        f"listed with the command that finishes them, {len(cells) - answered - unfinished} have neither"
    )
    if left:
        still = ", so that at the authors' length the claim is open" if len(left) == len(long) else ""
        longest = max(run.iterations for run in left)
        text = f"{len(left)} of {len(long)} ConvNet runs of {longest:,} iterations{still}; {text}"
    return [f"Unfinished: {text}."]


def percent(value: float) -> str:
    return f"{value:.2f} %"


def find_cell(tables: Mapping[str, Sequence[Line]], source: str, row: str, metric: str, layer: str) -> Cell | None:
    """The number of the paper with ours; None where paper.csv has none such."""
    cells = (cell for line in tables.get(source, []) if line.row == row for cell in line.cells)
    return next((c for c in cells if (c.published.metric, c.published.layer) == (metric, layer)), None)
