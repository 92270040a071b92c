"""The tables of README.md and docs/, from what Caffe recorded and from results/: `python -m reproductions.tables`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import caffe_compat as cc
from caffe_compat.commands import VERBS
from reproductions.comparison import compare, read_paper
from reproductions.performance import markdown
from reproductions.record import read_result
from reproductions.report.first import FIRST, find_cell, sentences
from reproductions.report.sheets import ours_text, signed, value_text
from reproductions.runs import HERE, RESULTS, read_runs
from reproductions.site_tables import TABLES as SITE_TABLES

README = HERE.parent / "README.md"
GOLDEN = HERE.parent / "tests" / "golden"
MARK = "<!-- {name}: made by `python -m reproductions.tables`, do not edit -->\n"
END = "<!-- end of {name} -->"


def exactness() -> str:
    """One row a golden family: how many cases real Caffe computed, how closely they are met, and the test."""
    table = [("What Caffe computed", "cases", "met within", "test")]
    table += [(what, str(count()), tolerance, f"`tests/{test}`") for what, count, tolerance, test in FAMILIES]
    return markdown(table)


def scores() -> str:
    """One row a public trained model: the accuracy that its authors' Caffe reports, and ours."""
    if not (RESULTS / "scores.json").exists():
        return ""
    table = [("Public model, its test set", "images", "Caffe", "here")]
    for row in read_result("scores")["rows"]:
        published = "-" if row["published"] is None else f"{row['published']:.2f} %"
        table.append((row["model"], f"{row['images']:,}", published, f"{row['ours']:.2f} %"))
    return markdown(table)


def quickstart() -> str:
    """The rows that the quickstart printed when it was recorded."""
    if not (RESULTS / "quickstart.json").exists():
        return ""
    result = read_result("quickstart")
    layers = list(result["rows"][0]["ranks"])
    table = [
        (
            "Digits, 449 test images",
            "accuracy",
            *(f"rank of {layer}" for layer in layers),
            "decomposed",
            "multiply-adds",
        )
    ]
    for row in result["rows"]:
        ranks = [f"{row['ranks'][layer]} of {row['filters'][layer]}" for layer in layers]
        small = f"{100 * row['small_accuracy']:.2f} %", f"{row['speedup']:.2f} times fewer"
        table.append((row["name"], f"{100 * row['accuracy']:.2f} %", *ranks, *small))
    return markdown(table)


def paper() -> str:
    """What stands on the report's first screen: what is confirmed, what not, what unfinished; numbers beside ours."""
    runs = read_runs()
    lines = compare(read_paper(), runs)
    table: list[tuple[str, ...]] = [("The paper", "printed", "here", "difference")]
    for key, name in FIRST:
        cell = find_cell(lines, *key)
        if cell is not None and cell.ours is not None and cell.difference is not None:
            unit = {"percent": " %", "times": " times"}.get(cell.published.unit, "")
            numbers = [value_text(cell.published.value, cell.published.unit), ours_text(cell.ours, cell.published.unit)]
            table.append((name, *(number + unit for number in numbers), signed(cell.difference, cell.published.unit)))
    return "\n\n".join([*sentences(lines, runs), markdown(table)]) if len(table) > 1 else ""


def commands() -> str:
    """One row a verb of caffe-compat, as its help says; verbs of the same module share a row."""
    names: dict[str, list[str]] = {}
    for name, verb in VERBS.items():
        names.setdefault(verb.module, []).append(name)
    table = [("verb", "what it does")]
    table += [(", ".join(f"`{name}`" for name in group), VERBS[group[0]].summary) for group in names.values()]
    return markdown(table)


def findings() -> str:
    """One row a kind of what `caffe-compat check` finds, problems before notes."""
    table = [("`check` reports", "kind", "what it tells")]
    for word, kinds in cc.FINDINGS.items():
        table += [(word, kind, told) for kind, told in kinds.items()]
    return markdown(table)


def methods() -> str:
    """One row a method that acts while a net trains: what it does, its fields, whose code it follows."""
    table = [("method", "while a net trains", "fields of the solver; of `param`, of the layer", "after")]
    listed: tuple[Any, ...] = (*cc.OTHER_METHODS, *cc.TRAINING_METHODS)
    for entry in listed:
        table.append((entry.title, entry.does, ", ".join(f"`{field}`" for field in entry.fields), entry.source))
    return markdown(table)


def files(folder: str, pattern: str) -> Callable[[], int]:
    """Counts the golden files or folders that match."""
    return lambda: len(list((GOLDEN / folder).glob(pattern)))


def entries(*path: str) -> Callable[[], int]:
    """Counts the entries of a golden index."""
    return lambda: len(json.loads(GOLDEN.joinpath(*path).read_text(encoding="utf-8")))


FAMILIES: tuple[tuple[str, Callable[[], int], str, str], ...] = (
    (
        "layers, forward and backward",
        entries("layers", "cases.json"),
        "1e-5 of the largest value",
        "layers/test_golden_layers.py",
    ),
    ("whole nets, every blob and gradient", files("nets", "*.npz"), "2e-5, gradients 1e-4", "net/test_golden_nets.py"),
    (
        "solver runs, weights and history",
        files("solver", "*/trajectory.npz"),
        "10 times Caffe's own rounding",
        "solver/test_golden_trajectories.py",
    ),
    (
        "the force alone",
        entries("force_step", "force_step.json"),
        "float32 rounding; 1e-11 in float64",
        "solver/regularizers/test_force.py",
    ),
    ("snapshots resumed, both ways", files("resume", "*"), "1e-5; the files to the bit", "solver/test_snapshots.py"),
    (
        "filter banks factorized",
        entries("decompose", "tensors.json"),
        "2e-5 of the largest weight",
        "decompose/test_factorize.py",
    ),
    (
        "nets decomposed by the paper's scripts",
        files("decompose", "flow/*"),
        "1e-5 of the largest output",
        "decompose/test_rewrite.py",
    ),
    (
        "old nets and solvers upgraded",
        files("formats", "upgrade_*/*.in.prototxt"),
        "equal messages",
        "proto/test_upgrade.py",
    ),
    (
        "data layers, batch after batch",
        files("formats", "data/*.npz"),
        "exact; 1e-5 with a mean file",
        "layers/caffe/test_data.py",
    ),
    ("fillers", entries("fillers", "fillers.json"), "5 standard errors", "layers/test_fillers.py"),
)

TABLES: dict[str, Callable[[], str]] = {
    "exactness": exactness,
    "paper": paper,
    "scores": scores,
    "quickstart": quickstart,
    "commands": commands,
    "findings": findings,
    "methods": methods,
    **SITE_TABLES,
}


def filled(text: str) -> str:
    """`text` with the table between each pair of marks made anew."""
    for name, make in TABLES.items():
        start, end = MARK.format(name=name), END.format(name=name)
        before, found, rest = text.partition(start)
        if found:
            _, _, after = rest.partition(end)
            text = f"{before}{start}\n{make()}\n{end}{after}"
    return text


def pages() -> list[Path]:
    """README and every page of the site."""
    return [README, *sorted((README.parent / "docs").rglob("*.md"))]


def main() -> None:
    for path in pages():
        text = path.read_text(encoding="utf-8")
        if filled(text) != text:
            path.write_text(filled(text), encoding="utf-8")


if __name__ == "__main__":
    main()
