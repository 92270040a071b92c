"""The paper's fork of Caffe and this package, from the same weights, on the same images in the same order.

python -m reproductions.convnet.beside_fork prepare --data CIFAR10 --work WORK --iterations 20000
python -m reproductions.convnet.beside_fork record --work WORK

`prepare` makes the databases, one set of initial weights (the fillers', seed 1), and solvers for the fork's run and
ours. It prints their commands. The first NEAR iterations are also run apart, with snapshots close to one another, and
twice more: ours from weights that are all one rounding larger, which shows what float32 makes of the smallest
difference, and ours without force, which shows what a force left out would look like. `record` writes
results/beside-fork.json, two rows of results/convnet.csv, and the logs, of as much as was run.

The solver is that of the step l2-3e-4-240k: at that strength the ranks reach the paper's, where 5e-5, which the authors
published, leaves them where they are without force, so that in the long run no difference between the forces shows.
cifar10_full draws no crops, mirrors or dropout, and both read the database from its first record on; a run of the fork
can go on from a snapshot at a multiple of 500 iterations alone, where the database begins anew, for Caffe keeps no
place in it. OpenBLAS has a kernel for each processor and takes its slowest for one that it does not know:
OPENBLAS_VERBOSE=2 tells which, OPENBLAS_CORETYPE chooses.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import caffe_compat as cc
from caffe_compat.commands.numbers import whole_number
from reproductions.checkpoints import cleaned_text
from reproductions.convnet.run import NETWORK
from reproductions.datasets import published_cifar10
from reproductions.measures import costs
from reproductions.record import forget_runs, keep_log, record_run, write_result
from reproductions.runner import KEEP, working_in
from reproductions.runs import Run
from reproductions.steps import StepError

NEAR, NEAR_EVERY, EVERY = 200, 10, 500  # iterations; snapshots
DISPLAY = 10
STEP = "l2-3e-4-240k"
NAME = "beside-fork"
PROGRAM = "python -m reproductions.convnet.beside_fork"
WHO = {"fork": "the paper's fork", "here": "this package"}
NOTE = "{:,} iterations at the first learning rate, both from the same weights; float32"
STAGES = {"near": ("fork", "here", "nudged", "free"), "far": ("fork", "here")}


def main(words: Sequence[str] | None = None) -> int:
    """Do what `words` (default: the command line) ask; 0, or 2 with one line on stderr."""
    arguments = parser().parse_args(words)
    try:
        if arguments.action == "prepare":
            prepare(arguments.data, arguments.work, arguments.iterations)
        else:
            record(arguments.work, arguments.build)
    except (cc.CaffeCompatError, OSError) as failed:
        print(f"beside_fork: {failed}", file=sys.stderr)
        return 2
    return 0


def prepare(data: Path, work: Path, iterations: int) -> None:
    """Write everything that the runs need into `work`, and print their commands."""
    work.mkdir(parents=True, exist_ok=True)
    if not all((work / name).exists() for name in NETWORK.databases):
        published_cifar10(data, work, seed=1)
    net = cc.read_net(NETWORK.folder / NETWORK.net)
    cc.write_model(cc.Model(net, {}), work / NETWORK.net)
    for stage, runs in STAGES.items():
        for who in runs:
            path = work / f"{who}_{stage}.prototxt"
            path.write_text(cc.format_text(solver(who, stage, iterations)), encoding="utf-8")
    start = initial_weights(work)
    for name, weights in (("start", start), ("nudged", nudged(start))):
        cc.write_model(cc.Model(net, weights), work / f"{name}.prototxt", work / f"{name}.caffemodel")
    print("\n".join(commands(work)))


def solver(who: str, stage: str, iterations: int) -> Any:
    """The SolverParameter of one run."""
    step = NETWORK.step(STEP)
    param = cc.read_solver(NETWORK.folder / step.solver)
    param.MergeFrom(cc.parse_text(step.settings, cc.SolverParameter))
    param.net, param.snapshot_prefix, param.random_seed = NETWORK.net, f"{who}_{stage}", step.seed
    param.max_iter, param.snapshot = (NEAR, NEAR_EVERY) if stage == "near" else (iterations, EVERY)
    param.display, param.solver_mode = DISPLAY, param.CPU
    if who == "free":
        param.force_decay = 0
    return param


def initial_weights(work: Path) -> dict[str, tuple[np.ndarray, ...]]:
    """What the fillers give with the seed of the step."""
    with working_in(work):
        made = cc.Solver("here_near.prototxt", device="cpu")
    return {layer: tuple(np.array(blob) for blob in blobs) for layer, blobs in made.model().weights.items()}


def nudged(weights: Mapping[str, Sequence[np.ndarray]]) -> dict[str, tuple[np.ndarray, ...]]:
    """Every weight one float32 away from zero; zeros stay."""
    return {layer: tuple(map(away_from_zero, blobs)) for layer, blobs in weights.items()}


def away_from_zero(blob: np.ndarray) -> np.ndarray:
    return np.where(blob == 0, blob, np.nextafter(blob, np.copysign(np.float32(np.inf), blob)))


def commands(work: Path) -> list[str]:
    """How the runs are run, or gone on with, in `work`."""
    return [f"cd {work}", *(command(work, who, stage) for stage, runs in STAGES.items() for who in runs)]


def command(work: Path, who: str, stage: str) -> str:
    """How one run is run; from its newest snapshot at which the database begins anew, if it has one."""
    whole = [iteration for iteration in snapshots(work, who, stage) if iteration % EVERY == 0]
    start = f"--weights={'nudged' if who == 'nudged' else 'start'}.caffemodel"
    if whole:
        start = f"--snapshot={who}_{stage}_iter_{max(whole)}.solverstate.h5"
    log = f"2>> {who}_{stage}.log"
    if who == "fork":
        return f"OPENBLAS_NUM_THREADS=1 CAFFE/build/tools/caffe train --solver={who}_{stage}.prototxt {start} {log}"
    return f"caffe-compat solve {who}_{stage}.prototxt {start} --compat wen2017 --device cpu --threads 1 {log}"


def record(work: Path, build: str) -> None:
    """Write results/beside-fork.json, the rows and the logs of what was run in `work`; StepError for too little.

    build: what the fork was built from and with, for the note of its row.
    """
    stages = {stage: rows_of(work, stage) for stage in STAGES}
    for stage, rows in stages.items():
        if not rows:
            named = ", ".join(f"{who}_{stage}" for who in STAGES[stage])
            raise StepError(f"{work}: the runs {named} share no snapshot yet")
    write_result(NAME, f"{PROGRAM} record --work WORK", [row for rows in stages.values() for row in rows])
    fixed: dict[str, Any] = costs(cc.Model(cc.read_net(work / NETWORK.net), {}), work)
    forget_runs(NETWORK.name, PROGRAM)  # of fewer iterations
    for who in STAGES["far"]:
        run = run_of(who, stages["far"], build if who == "fork" else "")
        spent = round(seconds_of(log_of(work, who, "far")), 1)
        record_run(replace(run, seconds=spent, log=kept_log(work, who), **fixed))


def rows_of(work: Path, stage: str) -> list[dict[str, Any]]:
    """One row for each iteration that all runs of a stage have a snapshot of.

    loss: of each run, the mean of those shown since the row before. error: percent of the test images, where it was
    tested. ranks: of every convolution at KEEP. difference: of each layer the largest difference of a weight from ours,
    as a share of the layer's largest weight.
    """
    runs = STAGES[stage]
    losses = {who: losses_of(log_of(work, who, stage)) for who in runs}
    errors = {who: errors_of(log_of(work, who, stage)) for who in runs}
    rows, before = [], 0
    for iteration in sorted(set.intersection(*(snapshots(work, who, stage) for who in runs))):
        weights = {who: cc.read_weights(snapshot(work, who, stage, iteration)) for who in runs}
        rows.append(
            {
                "stage": stage,
                "iteration": iteration,
                "loss": {who: mean_between(losses[who], before, iteration) for who in runs},
                "error": {who: errors[who][iteration] for who in runs if iteration in errors[who]},
                "ranks": {who: ranks(weights[who]) for who in runs},
                "difference": {who: difference(weights["here"], weights[who]) for who in runs if who != "here"},
            }
        )
        before = iteration
    return rows


def log_of(work: Path, who: str, stage: str) -> str:
    path = work / f"{who}_{stage}.log"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def losses_of(log: str) -> dict[int, float]:
    """{iteration: loss} of a log of Caffe's form; of one that was gone on with, the last word counts."""
    found = re.findall(r"Iteration (\d+)(?: \([^)]*\))?, loss = (\S+)", log)
    return {int(iteration): float(loss) for iteration, loss in found}


def errors_of(log: str) -> dict[int, float]:
    """{iteration: error in percent} of the tests in a log of Caffe's form."""
    found = re.findall(r"Iteration (\d+), Testing net \(#0\)\n(?:.*\n)*?.*accuracy = (\S+)", log)
    return {int(iteration): round(100 * (1 - float(accuracy)), 2) for iteration, accuracy in found}


def snapshots(work: Path, who: str, stage: str) -> set[int]:
    """The iterations of which a run has a snapshot."""
    names = (path.name for path in work.glob(f"{who}_{stage}_iter_*.caffemodel.h5"))
    return {int(re.findall(r"_iter_(\d+)\.", name)[0]) for name in names}


def snapshot(work: Path, who: str, stage: str, iteration: int) -> Path:
    return work / f"{who}_{stage}_iter_{iteration}.caffemodel.h5"


def mean_between(losses: Mapping[int, float], after: int, upto: int) -> float | None:
    """The mean of the losses of iterations in [after, upto); None where none was shown."""
    values = [loss for iteration, loss in losses.items() if after <= iteration < upto]
    return round(float(np.mean(values)), 6) if values else None


def ranks(weights: cc.Weights) -> dict[str, int]:
    """The rank of every convolution at KEEP."""
    return {name: cc.rank_by_energy(blobs[0], KEEP) for name, blobs in weights.items() if blobs[0].ndim == 4}


def difference(ours: cc.Weights, other: cc.Weights) -> dict[str, float]:
    """Of each layer the largest difference of a weight, as a share of the layer's largest."""
    pairs = {name: (blobs[0], other[name][0]) for name, blobs in ours.items() if blobs}
    shares = {name: np.abs(mine - theirs).max() / np.abs(mine).max() for name, (mine, theirs) in pairs.items()}
    return {name: float(f"{share:.3g}") for name, share in shares.items()}


def seconds_of(log: str) -> float:
    """The time between the lines of a log of Caffe's form, without that between two processes, and over midnight."""
    lines = re.findall(r"^[IWE]\d+ (\d+):(\d+):(\d+\.\d+) +(\d+) ", log, re.MULTILINE)
    moments = [
        (3600 * int(hour) + 60 * int(minute) + float(second), process) for hour, minute, second, process in lines
    ]
    return sum((b[0] - a[0]) % 86400 for a, b in pairwise(moments) if a[1] == b[1])


def kept_log(work: Path, who: str) -> str:
    """Copy the logs of one side, one behind the other, to those of the project, without places; the path there."""
    runs = [(each, stage) for stage, found in STAGES.items() for each in found if (each == "fork") == (who == "fork")]
    text = "".join(f"==> {each}_{stage}.log <==\n{log_of(work, each, stage)}" for each, stage in runs)
    clean = work / f".clean.{who}.log"
    clean.write_text(cleaned_text(text, {str(work.resolve()): "WORK"}), encoding="utf-8")
    return keep_log(clean, f"{NETWORK.name}-{NAME}-{who}.log")


def run_of(who: str, rows: Sequence[Mapping[str, Any]], build: str = "") -> Run:
    """The row of the fork's long run, or of ours."""
    tested = [row for row in rows if row["error"]]
    last = tested[-1] if tested else rows[-1]
    full = {layer.name: layer.convolution_param.num_output for layer in cc.read_net(NETWORK.folder / NETWORK.net).layer}
    settled: dict[str, Any] = {"threads": 1}
    if who == "fork":
        settled |= {"python": "-", "torch": "-", "caffe_compat": "-"}
    return Run(
        NETWORK.name,
        "beside the fork",
        f"l2, {WHO[who]}",
        float(f"{solver(who, 'far', EVERY).force_decay:.6g}"),
        NETWORK.step(STEP).seed,
        last["iteration"],
        error=last["error"].get(who),
        ranks={layer: (rank, full[layer]) for layer, rank in last["ranks"][who].items()},
        measures={(f"loss, mean of {EVERY} iterations", ""): last["loss"][who]},
        command=f"{PROGRAM} prepare --data DATA --work WORK",
        note="; ".join(filter(None, [NOTE.format(last["iteration"]), build])),
        **settled,
    )


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = made.add_subparsers(dest="action", metavar="ACTION", required=True)
    preparing = actions.add_parser("prepare", help="databases, weights and solvers; prints the commands")
    preparing.add_argument("--data", type=Path, required=True, metavar="DIR", help="CIFAR-10's binary version")
    preparing.add_argument(
        "--iterations", type=whole_number(1), default=20000, metavar="N", help="of the long runs, default 20000"
    )
    recording = actions.add_parser("record", help="what was run -> rows, logs, and the report's figure")
    recording.add_argument("--build", default="", metavar="TEXT", help="commit, compiler and BLAS of the fork's build")
    for each in (preparing, recording):
        each.add_argument("--work", type=Path, required=True, metavar="DIR", help="where the runs run")
    return made


if __name__ == "__main__":
    sys.exit(main())
