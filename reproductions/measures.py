"""What the steps of a network gave, as rows of results/NETWORK.csv and logs in logs/.

error: after the last iteration; the measure `error before` is that before the first. Ranks are at 95 % energy, of every
convolution; of a decomposed net, those of its chains. The measure `decomposed error`: at these ranks by PCA, without
fine-tuning, layers that would not become cheaper left dense; multiply_adds and parameters are of that net.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

import caffe_compat as cc
from reproductions.checkpoints import LOG_FILES, keep_logs, keep_starts
from reproductions.record import LOGS, forget_renamed, forget_runs, processor, record_run
from reproductions.runner import KEEP, PREFIX, Runner, cheaper_ranks
from reproductions.runs import HERE, RESULTS, Run, read_events
from reproductions.steps import Step

FORCES = {"Degradation": "l2", "Constant": "l1"}


def record(runner: Runner, steps: Iterable[Step], root: Path = HERE) -> None:
    """Write the row of every step into root/results, and the logs of those that are finished into root/logs.

    A finished row that the project keeps stays where the step's folder has no finished run. Rows of steps that the
    network has no more go when all steps are recorded. Of a finished step's checkpoint, what others start from stays.
    """
    steps = list(steps)
    rows = [current_run(runner, step, root / LOGS.name) for step in steps]
    if len(steps) == len(runner.network.steps):
        forget_runs(runner.network.name, f"python -m {runner.network.program} ", root / RESULTS.name)
    for row in rows:
        forget_renamed(row, root / RESULTS.name)
        record_run(row, folder=root / RESULTS.name)
    if root == HERE:
        for step in steps:
            keep_starts(runner, step)


def current_run(runner: Runner, step: Step, logs: Path) -> Run:
    """The row of a step as it stands."""
    if runner.is_done(step) and (runner.folder(step) / LOG_FILES[1]).exists():
        return finished_run(runner, step, logs)
    return runner.recorded(step) or unfinished_run(runner, step)


def unfinished_run(runner: Runner, step: Step) -> Run:
    """The row of a step that is not finished: what it is to be, and the command that finishes it."""
    baseline = runner.network.step(step.baseline) if step.baseline else None
    return Run(
        network=runner.network.name,
        experiment=step.experiment,
        method=step.method,
        force_decay=strength(runner, step),
        seed=step.seed,
        iterations=in_all(runner, step),
        status="unfinished",
        finish=runner.command(step),
        command=runner.command(step),
        paper=step.paper,
        baseline=f"{baseline.experiment}: {baseline.method}" if baseline else "",
        note=f"{step.note}; at iteration {runner.reached(step)}".lstrip("; "),
    )


def strength(runner: Runner, step: Step) -> float:
    """force_decay of the step, or where it has none, of the step that it starts from."""
    own = float(f"{runner.solver(step).force_decay:.6g}")
    before = runner.before(step)
    return own or (strength(runner, before) if before else 0.0)


def in_all(runner: Runner, step: Step) -> int:
    """Iterations of the step and of those before it, up to where each begins."""
    before, at = runner.before(step), step.start.partition("@")[2]
    if before is None:
        return runner.iterations(step)
    skipped = runner.iterations(before) - int(at) if at and not runner.place.smoke else 0
    return runner.iterations(step) + in_all(runner, before) - skipped


def finished_run(runner: Runner, step: Step, logs: Path) -> Run:
    """The row of a finished step; its logs are kept in the folder `logs`."""
    fields = vars(unfinished_run(runner, step)) | {"status": "finished", "finish": "", "note": step.note}
    facts, found = circumstances(runner, step), measured(runner, step)
    more = {tuple(name.split("@")) if "@" in name else (name, ""): value for name, value in found.pop("more").items()}
    facts["measures"] |= more
    return Run(**(fields | facts | found | {"log": keep_logs(runner, step, logs)}))


def circumstances(runner: Runner, step: Step) -> dict[str, Any]:
    """How the step ran, and its error, as its folder's log says."""
    folder = runner.folder(step)
    events = list(read_events(folder / f"{PREFIX}.jsonl"))
    first = next(event for event in events if event["event"] == "start")
    tests = {event["iteration"]: event["outputs"] for event in events if event["event"] == "test" and event["outputs"]}
    accuracy, top5, last = runner.network.accuracy, runner.network.top5, runner.iterations(step)
    before, after = (error(tests.get(at), accuracy) for at in (0, last))
    return {
        "error": after,
        "top5_error": error(tests.get(last), top5) if top5 else None,
        "seconds": round(seconds(events), 1),
        "device": processor() if first["device"] == "cpu" else torch.cuda.get_device_name(first["device"]),
        "threads": first["threads"],
        "commit": (folder / "commit").read_text(encoding="utf-8").strip(),
        "torch": first["torch"],
        "caffe_compat": first["caffe_compat"],
        "measures": {} if before is None else {("error before", ""): before},
    }


def measured(runner: Runner, step: Step) -> dict[str, Any]:
    """Ranks, costs and the error after decomposing; kept in the step's folder, for the last takes its time."""
    kept = runner.folder(step) / "measured.json"
    if not kept.exists():
        with cc.write_atomically(kept) as temporary:
            temporary.write_text(json.dumps((runner.network.measure or measure)(runner, step)) + "\n", encoding="utf-8")
    found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return found | {"ranks": {layer: tuple(pair) for layer, pair in found["ranks"].items()}}


def measure(runner: Runner, step: Step) -> dict[str, Any]:
    """`ranks`, `multiply_adds`, `parameters`, and `more`: other measures by name."""
    folder = runner.folder(step)
    model = cc.read_model(folder / "train_test.prototxt", runner.weights(step))
    chains = chain_ranks(model)
    if chains:
        return {"ranks": chains, "more": zero_shares(model), **costs(model, folder)}
    ranks = cc.ranks_by_energy(model, KEEP)
    small = cc.decompose(model, cheaper_ranks(model))
    outputs = mean_outputs(small, folder, runner.solver(step).test_iter[0])
    more = {"decomposed error": error(outputs, runner.network.accuracy)}
    full = {layer: len(model.weights[layer][0]) for layer in ranks}
    return {
        "ranks": {layer: (rank, full[layer]) for layer, rank in ranks.items()},
        "more": more | zero_shares(model),
        **costs(small, folder),
    }


def chain_ranks(model: cc.Model) -> dict[str, tuple[int, int]]:
    """{layer: (rank, filters)} of the chains X_lowrank, X_linear of a decomposed net."""
    outputs = {layer.name: layer.convolution_param.num_output for layer in model.net.layer}
    chains = [name.removesuffix("_lowrank") for name in outputs if name.endswith("_lowrank")]
    return {name: (outputs[f"{name}_lowrank"], outputs[f"{name}_linear"]) for name in chains}


def zero_shares(model: cc.Model) -> dict[str, float]:
    """Percent of zeros in each weight that has any: of its values, of its rows (filters), of its columns."""
    shares: dict[str, float] = {}
    for layer, blobs in model.weights.items():
        if blobs and blobs[0].ndim >= 2 and (blobs[0] == 0).any():
            zeros = (blobs[0] == 0).reshape(len(blobs[0]), -1)
            parts = {"zeros": zeros, "zero filters": zeros.all(axis=1), "zero columns": zeros.all(axis=0)}
            shares |= {f"{what}@{layer}": round(100 * float(part.mean()), 2) for what, part in parts.items()}
    return shares


def costs(model: cc.Model, folder: Path) -> dict[str, int]:
    """Multiply-adds of one image, and parameters, of the TEST net of `model`, whose databases are in `folder`."""
    net = cc.Net(model, phase="TEST", folder=folder)
    shapes = {name: tuple(net.shapes[name]) for name in net.input_names}
    found = cc.layer_costs(model, shapes).values()
    return {"multiply_adds": sum(c.multiply_adds for c in found), "parameters": sum(c.parameters for c in found)}


@torch.inference_mode()
def mean_outputs(model: cc.Model, folder: Path, batches: int) -> dict[str, float]:
    """The mean of every single-valued output of the TEST net over its next batches."""
    net = cc.Net(model, phase="TEST", folder=folder)
    sums: dict[str, float] = {}
    for _ in range(batches):
        for name, value in net().items():
            if value.numel() == 1:
                sums[name] = sums.get(name, 0.0) + float(value)
    return {name: total / batches for name, total in sums.items()}


def error(outputs: dict[str, float] | None, accuracy: str) -> float | None:
    """The error in percent; None for no test."""
    return None if outputs is None else round(100 * (1 - outputs[accuracy]), 2)


def seconds(events: list[dict[str, Any]]) -> float:
    """The time between events, without that before a resumption."""
    pairs = itertools.pairwise(events)
    return float(sum(after["time"] - before["time"] for before, after in pairs if after["event"] != "start"))
