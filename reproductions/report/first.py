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


def find_cell(tables: Mapping[str, Sequence[Line]], source: str, row: str, metric: str, layer: str) -> Cell | None:
    """The number of the paper with ours; None where paper.csv has none such."""
    cells = (cell for line in tables.get(source, []) if line.row == row for cell in line.cells)
    return next((c for c in cells if (c.published.metric, c.published.layer) == (metric, layer)), None)
