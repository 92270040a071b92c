"""Write README.md and the pages of reproductions/ from paper.csv, results/ and logs/; --check only compares.

Numbers that are new or better than ever go into results/best/numbers.csv, the first ones into the project's README.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from reproductions.best import FILE, best_text, current, read_best, updated
from reproductions.report import costs, plots
from reproductions.report.beside import beside_the_fork
from reproductions.report.facts import Facts, read_facts
from reproductions.report.figures import Figure
from reproductions.report.first import sentences
from reproductions.report.methods import methods_page
from reproductions.report.page import page
from reproductions.report.readme import readme
from reproductions.report.sheets import paper_sheet, runs_sheet, unfinished_sheet
from reproductions.runs import HERE

FIGURES: tuple[Callable[[Facts], Figure | None], ...] = (
    plots.error_against_ratio,
    costs.rivals,
    plots.falling_ranks,
    plots.training_curves,
    plots.from_scratch,
    plots.falling_ranks_from_scratch,
    beside_the_fork,
    plots.fine_tuning,
    costs.decompositions,
    costs.sparsity,
    costs.speedups,
    costs.energies,
    lambda facts: plots.ranks_per_layer(facts, "ResNet-20", "ResNet-20: rank of every convolution (Fig. 5)"),
    lambda facts: plots.ranks_per_layer(facts, "GoogLeNet", "GoogLeNet: rank of every convolution (Fig. 5)"),
    plots.spectra,
    plots.basis_filters,
    plots.clusters,
)


def generated(facts: Facts) -> dict[str, str]:
    """{name of the file: its text}."""
    tables = facts.tables()
    paper = [paper_sheet(source, lines) for source, lines in tables.items()]
    networks = dict.fromkeys(run.network for run in facts.runs)
    runs = [runs_sheet(name, [run for run in facts.runs if run.network == name]) for name in networks]
    runs = [sheet for sheet in runs if sheet.rows]
    unfinished = unfinished_sheet(facts.runs)
    figures = [figure for figure in (make(facts) for make in FIGURES) if figure is not None]
    said = sentences(tables, facts.runs)
    return {
        "README.md": readme(said, paper, runs, unfinished),
        FILE: best_text(updated(read_best(facts.root), current(tables))),
        "index.html": page(said, tables, figures, paper, runs, unfinished),
        "methods/index.html": methods_page(facts),
    }


def main(words: list[str] | None = None, root: Path = HERE) -> int:
    """0; with --check 1 where a file is not what would be written now."""
    parser = argparse.ArgumentParser(prog="python -m reproductions.report", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 where a file is stale")
    check = parser.parse_args(words).check
    stale = []
    for name, text in generated(read_facts(root)).items():
        path = root / name
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            stale.append(name)
        elif not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if not check and root == HERE:
        from reproductions import tables  # here, for it needs torch, and --check is to be quick

        tables.main()
    if stale:
        print(f"stale: {', '.join(stale)}; run `python -m reproductions.report`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
