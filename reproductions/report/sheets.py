"""The report's tables, before they are Markdown or HTML: the paper beside ours, every run, and what is unfinished."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from reproductions.comparison import Cell, Group, Line, Ours, error_above_baseline, grouped
from reproductions.runs import Run

WIDEST = 6  # columns; a table with more is turned, one line a number
MOST = 9  # numbers that are listed in one cell
DOUBT = {"restored": "†", "digitised": "‡", "derived": ""}  # how a number of the paper was read, where not from print
PERCENT = ("percent", "share")  # units of paper.csv that are shown in percent
STRUCTURE = "full rank"  # shown as the denominator of the rank


@dataclass(frozen=True)
class Note:
    """What stands below a table: a text, a command, and paths of logs in reproductions/."""

    text: str
    command: str = ""
    logs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sheet:
    """A table: a head and rows of plain texts, and notes. strong: (row, column) of cells that stand out."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[Note, ...] = ()
    strong: frozenset[tuple[int, int]] = field(default_factory=frozenset)


def paper_sheet(source: str, lines: Sequence[Line]) -> Sheet:
    """One table or figure of the paper, its numbers beside ours."""
    names = columns(lines)
    texts: dict[tuple[str, str], str] = {}
    answered: set[tuple[str, str]] = set()
    for line in lines:
        for cell in shown(line):
            key = line.row, cell.published.name
            texts[key] = cell_text(cell, full_rank(line, cell))
            if cell.ours is not None:
                answered.add(key)
    rows = [line.row for line in lines]
    units = {cell.published.name: cell.published.unit for line in lines for cell in shown(line)}
    if len(names) <= WIDEST:
        across, down = names, rows
        keys = [[(row, name) for name in names] for row in rows]
    else:
        across, down = rows, names
        keys = [[(row, name) for row in rows] for name in names]
    across, down = ([f"{name}, %" if units.get(name) in PERCENT else name for name in each] for each in (across, down))
    body = tuple((head, *(texts.get(key, "") for key in row)) for head, row in zip(down, keys, strict=True))
    strong = {(i, j + 1) for i, row in enumerate(keys) for j, key in enumerate(row) if key in answered}
    notes = [run_note(line.row, group) for line in lines for group in line.groups]
    return Sheet(source, ("", *across), body, tuple(notes), frozenset(strong))


def columns(lines: Sequence[Line]) -> list[str]:
    """The names of all numbers, those of one metric together."""
    found = [cell.published for line in lines for cell in shown(line)]
    metrics = list(dict.fromkeys(each.metric for each in found))
    return list(dict.fromkeys(each.name for metric in metrics for each in found if each.metric == metric))


def shown(line: Line) -> list[Cell]:
    return [cell for cell in line.cells if cell.published.metric != STRUCTURE]


def full_rank(line: Line, cell: Cell) -> str:
    """ "/32" where the line also has the full rank of the cell's layer."""
    if cell.published.metric != "rank":
        return ""
    found = [
        each.published.value
        for each in line.cells
        if (each.published.metric, each.published.layer) == (STRUCTURE, cell.published.layer)
    ]
    return f"/{found[0]:g}" if found else ""


def cell_text(cell: Cell, full: str = "") -> str:
    """ "17/32 → 16 (-1)": the paper's number, ours, the difference."""
    unit = cell.published.unit
    paper = value_text(cell.published.value, unit) + full + DOUBT.get(cell.published.read_from, "")
    if cell.unfinished:
        return f"{paper} → unfinished"
    if cell.ours is None or cell.difference is None:
        return paper
    return f"{paper} → {ours_text(cell.ours, unit)} ({signed(cell.difference, unit)})"


def ours_text(ours: Ours, unit: str) -> str:
    spread = f" ± {value_text(ours.spread, unit)}" if ours.count > 1 else ""
    return value_text(ours.value, unit) + spread


def value_text(value: float, unit: str) -> str:
    """A number as its unit is read: 18.05 (percent), 1.78 (times), 42.63 (a share of 0.4263), 17 (the rest)."""
    if unit in ("percent", "times", "share"):
        return f"{100 * value if unit == 'share' else value:.2f}"
    return f"{value:,.1f}".removesuffix(".0") if value != int(value) else f"{value:,.0f}"


def with_unit(value: float, unit: str) -> str:
    return value_text(value, unit) + {"percent": " %", "share": " %", "times": " times"}.get(unit, "")


def signed(value: float, unit: str) -> str:
    text = value_text(abs(value), unit)
    return text if not any(digit in text for digit in "123456789") else ("+" if value > 0 else "-") + text


def run_note(row: str, group: Group) -> Note:
    """Which runs answer a row: what they are, what they cost, the command and the logs."""
    run = group.first
    if not group.finished:
        return Note(f"{row}: {run_name(run)}; unfinished, this finishes it", run.finish)
    seeds = [str(each.seed) for each in group.finished if each.seed is not None]
    facts = [run_name(run), f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}" if seeds else "", cost_text(run)]
    text = f"{row}: {'; '.join(filter(None, [*facts, run.note]))}"
    return Note(text, run.command, tuple(each.log for each in group.finished if each.log))


def run_name(run: Run) -> str:
    strength = f", λ {run.force_decay:g}" if run.force_decay else ""
    length = f", {run.iterations:,} iterations" if run.iterations else ""
    return f"{run.network}, {run.experiment}, {run.method}{strength}{length}"


def cost_text(run: Run) -> str:
    """ "812 s on AMD EPYC, 2 threads"."""
    time = f"{run.seconds:,.0f} s" if run.seconds is not None and run.seconds >= 1 else ""
    threads = f"{run.threads} thread{'s' if run.threads != 1 else ''}" if run.threads else ""
    return " on ".join(filter(None, [time, ", ".join(filter(None, [run.device, threads]))]))


def runs_sheet(network: str, runs: Iterable[Run]) -> Sheet:
    """Every finished run of a network."""
    head = ("experiment", "method", "λ", "seed", "iterations", "error %", "above baseline", "top-5 %", "rank ratio %",
            "ranks", "multiply-adds", "other measures", "s", "commit", "log")  # fmt: skip
    finished = [run for run in runs if run.status == "finished"]
    groups = grouped(finished)
    rows = [run_row(run, error_above_baseline(Group((run,)), groups)) for run in finished]
    kept = [place for place in range(len(head)) if place < 2 or any(row[place] for row in rows)]
    return Sheet(network, tuple(head[i] for i in kept), tuple(tuple(row[i] for i in kept) for row in rows))


def run_row(run: Run, above: float | None) -> tuple[str, ...]:
    """above: points of error above the baseline that the run names."""
    ranks = [f"{rank}/{full}" for rank, full in run.ranks.values()]
    measures = [f"{metric} {layer}".strip() + f" {value:.4g}" for (metric, layer), value in run.measures.items()]
    return (
        run.experiment,
        run.method,
        f"{run.force_decay:g}" if run.force_decay else "",
        "" if run.seed is None else str(run.seed),
        f"{run.iterations:,}" if run.iterations else "",
        optional(run.error),
        "" if above is None else f"{above:+.2f} ({run.baseline})",
        optional(run.top5_error),
        optional(run.average_rank_ratio),
        " ".join(ranks) if len(ranks) <= MOST else f"{len(ranks)} layers",
        f"{run.multiply_adds:,}" if run.multiply_adds else "",
        "; ".join(measures) if len(measures) <= MOST else f"{len(measures)} numbers",
        f"{run.seconds:,.0f}" if run.seconds and run.seconds >= 1 else "",
        run.commit,
        run.log,
    )


def optional(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def unfinished_sheet(runs: Iterable[Run]) -> Sheet:
    """What is not finished, with the command that finishes it."""
    rows = [(run_name(run), run.note, run.finish) for run in runs if run.status == "unfinished"]
    return Sheet("Unfinished", ("run", "note", "this finishes it"), tuple(rows))
