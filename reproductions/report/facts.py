"""What figures and tables are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reproductions.comparison import Group, Line, Published, compare, grouped, read_paper
from reproductions.report.svg import Point
from reproductions.runs import HERE, Run, read_log, read_runs


@dataclass(frozen=True)
class Facts:
    """The paper's numbers, our runs, their logs below `root`, and facts of filters by the names of their files."""

    root: Path
    paper: tuple[Published, ...]
    runs: tuple[Run, ...]
    filters: Mapping[str, Any]

    def tables(self) -> dict[str, list[Line]]:
        """{table or figure of the paper: its rows beside ours}."""
        return compare(self.paper, self.runs)

    def finished(self, network: str, *experiments: str) -> list[Group]:
        """Groups of finished runs of a network, of some experiments or all."""
        runs = [run for run in self.runs if run.network == network and run.status == "finished"]
        return grouped(run for run in runs if not experiments or run.experiment in experiments)

    def tests(self, run: Run, output: str = "accuracy") -> list[Point]:
        """(iteration, error in percent) of every test in the log of a run; none where it has no JSON log."""
        if ".jsonl" not in run.log or not (self.root / run.log).exists():
            return []
        found: dict[float, float] = {}
        for text in read_log(run.log, self.root).splitlines():
            event = json.loads(text)
            if event.get("event") == "test" and output in event["outputs"]:
                found[event["iteration"]] = 100 * (1 - float(event["outputs"][output]))
        return sorted(found.items())


def read_facts(root: Path = HERE) -> Facts:
    """What the folder `root` holds: paper.csv, results/ and logs/."""
    filters = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(root.glob("results/filters/*.json"))}
    return Facts(root, tuple(read_paper(root / "paper.csv")), tuple(read_runs(folder=root / "results")), filters)
