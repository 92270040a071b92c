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
    """The paper's numbers, our runs, their logs below `root`, and facts of filters by the names of their files.

    beside_fork: the rows of convnet/beside_fork.py, none where there are none.
    """

    root: Path
    paper: tuple[Published, ...]
    runs: tuple[Run, ...]
    filters: Mapping[str, Any]
    beside_fork: tuple[Mapping[str, Any], ...] = ()

    def tables(self) -> dict[str, list[Line]]:
        """{table or figure of the paper: its rows beside ours}."""
        return compare(self.paper, self.runs)

    def finished(self, network: str, *experiments: str) -> list[Group]:
        """Groups of finished runs of a network, of some experiments or all."""
        runs = [run for run in self.runs if run.network == network and run.status == "finished"]
        return grouped(run for run in runs if not experiments or run.experiment in experiments)

    def events(self, run: Run, kind: str) -> list[dict[str, Any]]:
        """The events of a kind in the log of a run; none where it has no JSON log."""
        if ".jsonl" not in run.log or not (self.root / run.log).exists():
            return []
        found = (json.loads(text) for text in read_log(run.log, self.root).splitlines())
        return [event for event in found if event.get("event") == kind]

    def tests(self, run: Run, output: str = "accuracy") -> list[Point]:
        """(iteration, error in percent) of every test of a run; an iteration that was tested again counts once."""
        tests = [event for event in self.events(run, "test") if output in event["outputs"]]
        return sorted({event["iteration"]: 100 * (1 - float(event["outputs"][output])) for event in tests}.items())

    def ratios(self, run: Run) -> list[Point]:
        """(iteration, average rank ratio in percent) at every test of a run with force."""
        full = {layer: filters for layer, (_, filters) in run.ranks.items()}
        found: dict[float, float] = {}
        for event in self.events(run, "ranks"):
            shares = [rank / full[layer] for layer, rank in event["ranks"].items() if layer in full]
            if shares:
                found[event["iteration"]] = 100 * sum(shares) / len(shares)
        return sorted(found.items())


def read_facts(root: Path = HERE) -> Facts:
    """What the folder `root` holds: paper.csv, results/ and logs/."""
    filters = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(root.glob("results/filters/*.json"))}
    beside = root / "results" / "beside-fork.json"
    rows = json.loads(beside.read_text("utf-8"))["rows"] if beside.exists() else ()
    runs = tuple(read_runs(folder=root / "results"))
    return Facts(root, tuple(read_paper(root / "paper.csv")), runs, filters, tuple(rows))
