"""The published numbers, from reproductions/paper.csv."""

from __future__ import annotations

import csv

from tests.conftest import ROOT


def published(source: str, row: str, metric: str) -> dict[str, float]:
    """{layer: value} of one row of a table or figure, in the order of the paper."""
    with (ROOT / "reproductions" / "paper.csv").open(newline="") as file:
        found = {
            line["layer"]: float(line["value"])
            for line in csv.DictReader(file)
            if (line["source"], line["row"], line["metric"]) == (source, row, metric)
        }
    if not found:
        raise KeyError(f"paper.csv has no {source}, {row}, {metric}")
    return found
