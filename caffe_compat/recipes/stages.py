"""What a recipe measures of a net at each stage, and the table of all stages."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from caffe_compat.net.cost import cost
from caffe_compat.net.net import Net
from caffe_compat.solver.solver import Solver


@dataclass(frozen=True)
class Stage:
    """A net at one stage: what its tests gave, and what it costs.

    scores: {output of a test net: mean over its batches}. ranks: {layer: rank}, None for a layer kept dense.
    multiply_adds: of one item of the batch. seconds: of forward passes of one batch, one value a round.
    """

    name: str
    scores: dict[str, float]
    ranks: dict[str, Any]
    multiply_adds: int
    parameters: int
    seconds: tuple[float, ...] = field(default=())

    @property
    def milliseconds(self) -> float:
        """The median time of a forward pass of one batch; nan where none was measured."""
        return 1e3 * statistics.median(self.seconds) if self.seconds else float("nan")


def scores_of(results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The single numbers in what Solver.test gives; those of a second test net on have its number in their names."""
    return {
        name if index == 0 else f"{name} #{index}": float(value)
        for index, outputs in enumerate(results)
        for name, value in outputs.items()
        if not isinstance(value, np.ndarray)
    }


def measure_stage(
    name: str,
    solver: Solver,
    ranks: Mapping[str, Any] | None = None,
    results: Sequence[Mapping[str, Any]] | None = None,
) -> Stage:
    """The stage of the net in `solver`, which is tested now unless `results` has its test."""
    net = timed_net(solver)
    whole = cost(solver.model(), {blob: net.shapes[blob] for blob in net.input_names})
    scores = scores_of(solver.test() if results is None else results)
    return Stage(name, scores, dict(ranks or {}), whole.multiply_adds, whole.parameters)


def timed_net(solver: Solver) -> Net:
    """The net whose forward pass a user waits for: the first one to test, else the one to train."""
    return solver.test_nets[0] if solver.test_nets else solver.net


def stage_table(stages: Sequence[Stage], device: str, threads: int, keep: float) -> str:
    """The stages as rows: scores, ranks in the layers' order, costs, time, and the last two against the first row.

    keep: the share of energy at which the ranks of a dense net are counted.
    """
    names = list(dict.fromkeys(name for stage in stages for name in stage.scores))
    header = ("stage", *names, "ranks", "multiply-adds", "fewer", "parameters", "fewer", "ms", "spread", "faster")
    rows = [header, *(_row(stage, stages[0], names) for stage in stages)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    layers = "-".join(stages[0].ranks)
    notes = f"ranks: of {layers}, at {keep:g} of the energy before they are fixed; in [] a layer kept dense"
    times = f"ms: median of a forward pass of one batch on {device}, {threads} threads; spread: quartiles"
    return "\n".join([*lines, notes, times])


def _row(stage: Stage, first: Stage, names: Sequence[str]) -> tuple[str, ...]:
    scores = [f"{stage.scores[name]:.4f}" if name in stage.scores else "-" for name in names]
    ranks = "-".join(str(rank) if rank is not None else "[]" for rank in stage.ranks.values())
    times = ["-", "-", "-"]
    if stage.seconds:
        seconds = stage.seconds if len(stage.seconds) > 1 else stage.seconds * 2
        low, _, high = statistics.quantiles(seconds, n=4, method="inclusive")
        faster = f"{first.milliseconds / stage.milliseconds:.2f}x" if first.seconds else "-"
        times = [f"{stage.milliseconds:.2f}", f"{1e3 * low:.2f}-{1e3 * high:.2f}", faster]
    return (
        stage.name,
        *scores,
        ranks,
        f"{stage.multiply_adds:,}",
        f"{first.multiply_adds / max(stage.multiply_adds, 1):.2f}x",
        f"{stage.parameters:,}",
        f"{first.parameters / max(stage.parameters, 1):.2f}x",
        *times,
    )
