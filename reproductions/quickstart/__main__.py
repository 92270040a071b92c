"""Train a baseline, force it from there, and print accuracy, ranks and costs of both, before and after decomposing."""

from __future__ import annotations

import argparse
import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import caffe_compat as cc
from reproductions.quickstart.prepare import prepare
from reproductions.record import write_result

HERE = Path(__file__).parent
KEEP = 0.95  # share of energy that a rank keeps, as in the paper
FORCE, FORCE_DECAY = "l1", 5e-4
SMOKE_ITERATIONS = 20


@dataclass(frozen=True)
class Row:
    """What the table says of one net: accuracies in [0, 1], ranks by layer."""

    name: str
    accuracy: float
    ranks: dict[str, int]
    filters: dict[str, int]
    small_accuracy: float
    speedup: float

    def __str__(self) -> str:
        ranks = "".join(f"{f'{rank}/{self.filters[layer]}':>8}" for layer, rank in self.ranks.items())
        after = f"{100 * self.small_accuracy:8.2f} %{self.speedup:12.2f} x"
        return f"{self.name:<10}{100 * self.accuracy:8.2f} %{ranks}{after}"


class Watch:
    """A solver callback: a line at each test, so that one sees the ranks fall."""

    def __init__(self, name: str) -> None:
        self.name = name

    def after_test(self, solver: cc.Solver, results: list[dict[str, Any]]) -> None:
        ranks = cc.ranks_by_energy(solver.model(), KEEP)
        shown = "  ".join(f"{layer} {rank}" for layer, rank in ranks.items())
        print(f"{self.name} {solver.iteration:5d}: accuracy {results[0]['accuracy']:.4f}  ranks {shown}", flush=True)


def train(name: str, out: Path, max_iter: int | None, **options: Any) -> cc.Model:
    """The net that solver_NAME.prototxt trains; its snapshots go to `out`."""
    param = cc.read_solver(HERE / f"solver_{name}.prototxt")
    param.net = str(out / "net.prototxt")
    param.snapshot_prefix = str(out / name)
    solver = cc.Solver(param, max_iter=max_iter, **options)
    solver.callbacks.append(Watch(name))
    solver.solve()
    return solver.model()


def measure(name: str, model: cc.Model, folder: Path) -> Row:
    """Accuracy and ranks of `model`, and accuracy and cost once its layers are decomposed at these ranks."""
    ranks = cc.ranks_by_energy(model, KEEP)
    weights = {layer: model.weights[layer][0] for layer in ranks}
    cheaper = {layer: rank for layer, rank in ranks.items() if cc.theoretical_speedup(weights[layer].shape, rank) > 1}
    small = cc.decompose(model, cheaper)
    return Row(
        name=name,
        accuracy=accuracy(model, folder),
        ranks=ranks,
        filters={layer: len(weight) for layer, weight in weights.items()},
        small_accuracy=accuracy(small, folder),
        speedup=cc.compare_cost(model, small, {"data": (1, 1, 8, 8), "label": (1,)}).speedup,
    )


def accuracy(model: cc.Model, folder: Path) -> float:
    """Accuracy on the one batch that is the whole test set."""
    return float(cc.Net(model, phase="TEST", folder=folder)()["accuracy"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m reproductions.quickstart", description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "run", help="where data and snapshots go")
    parser.add_argument("--smoke", action="store_true", help="a few iterations, only to see that it runs")
    parser.add_argument("--record", action="store_true", help="write the result for the README's table")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # layers this small lose more by waiting for a second thread than they gain
    started = time.perf_counter()
    out: Path = arguments.out
    prepare(out)
    shutil.copy(HERE / "net.prototxt", out)
    max_iter = SMOKE_ITERATIONS if arguments.smoke else None
    baseline = train("baseline", out, max_iter)
    weights = out / f"baseline_iter_{max_iter or cc.read_solver(HERE / 'solver_baseline.prototxt').max_iter}.caffemodel"
    forced = train("force", out, max_iter, weights=str(weights), force=FORCE, force_decay=FORCE_DECAY)
    rows = [measure("baseline", baseline, out), measure("force", forced, out)]
    print(
        f"\n{'':<10}{'accuracy':>10}"
        + "".join(f"{layer:>8}" for layer in rows[0].ranks)
        + "   decomposed  fewer multiply-adds"
    )
    print(*rows, sep="\n")
    print(f"\nranks keep {100 * KEEP:g} % of the energy; {time.perf_counter() - started:.0f} s; files in {out}")
    if arguments.record:
        write_result("quickstart", "python -m reproductions.quickstart --record", [vars(row) for row in rows])


if __name__ == "__main__":
    logging.getLogger("caffe_compat").setLevel(logging.ERROR)  # the table is the output
    main()
