"""What the campaign measures beside its runs: agreement with the CPU, times of iterations, speedups, the gpu tests."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import caffe_compat as cc
from reproductions import speed
from reproductions.convnet.run import NETWORK as CONVNET
from reproductions.gpu import timing, together
from reproductions.gpu.campaign import Campaign
from reproductions.record import LOGS, record_run
from reproductions.resnet20.run import NETWORK as RESNET20
from reproductions.runner import working_in
from reproductions.runs import RESULTS
from reproductions.steps import Network

PRECISIONS = ("fp32", "tf32", "bf16")
MARK = "@pytest.mark.gpu"
SHARES = (1, 2, 4, 8)  # nets at once whose time is taken


def agreement(campaign: Campaign, seconds: float) -> bool:
    """Losses and weights of cifar10_full beside the CPU's over 100 iterations: each force, with a CUDA graph or not."""
    iterations = 2 if campaign.rehearse else 100
    rows = []
    for force in ("none", "l1", "l2"):
        losses, weights = zip(
            *(
                trained(campaign, iterations, force, device, graph)
                for device, graph in (("cpu", False), (str(campaign.device), False), (str(campaign.device), True))
            ),
            strict=True,
        )
        for graph, index in ((False, 1), (True, 2)):
            rows.append(
                {
                    "force": force,
                    "graph": graph,
                    "iterations": iterations,
                    "largest difference of a loss": float(np.abs(losses[index] - losses[0]).max()),
                    "largest difference of a weight": float(np.abs(weights[index] - weights[0]).max()),
                    "largest weight": float(np.abs(weights[0]).max()),
                }
            )
            campaign.say(json.dumps(rows[-1]))
    campaign.keep("agreement", {"rows": rows})
    return True


def trained(campaign: Campaign, iterations: int, force: str, device: str, graph: bool) -> tuple[np.ndarray, np.ndarray]:
    """The losses and, in one row, the weights of cifar10_full after so many iterations of Caffe's own schedule."""
    solver = made_solver(campaign, CONVNET, device, force=force, graph=graph)
    losses = []
    for _ in range(iterations):
        solver.step(1)
        losses.append(solver.loss)
    return np.array(losses), np.concatenate([p.tensor.detach().cpu().numpy().ravel() for p in solver._params])


def made_solver(campaign: Campaign, network: Network, device: str, **options: Any) -> cc.Solver:
    """A solver of the network's baseline in its own folder, that neither tests nor snapshots."""
    runner = campaign.runner(network)
    step = replace(runner.network.steps[0], name="measured")
    runner.prepare(step)
    param = runner.solver(step)
    for name in ("test_iter", "test_interval", "snapshot", "display"):
        param.ClearField(name)
    param.snapshot_after_train = False
    param.net = str(runner.folder(step).resolve() / param.net)
    with working_in(runner.folder(step)):
        return cc.Solver(param, device=device, **options)


def iteration_times(campaign: Campaign, seconds: float) -> bool:
    """Times of an iteration of cifar10_full and ResNet-20 in each precision; share of what the device is sold with."""
    rows = []
    for network in (CONVNET, RESNET20):
        for precision in PRECISIONS if campaign.device.type == "cuda" else ("fp32",):
            solver = made_solver(campaign, network, str(campaign.device), precision=precision)
            times = timing.spread(timing.iteration_seconds(solver, 1 if campaign.rehearse else 400))
            shapes = {name: tuple(solver.net.shapes[name]) for name in solver.net.input_names}
            work = 3 * 2 * sum(cost.multiply_adds for cost in cc.layer_costs(solver.model(), shapes).values())
            work *= next(iter(shapes.values()))[0]
            sold = timing.peak(campaign.device, precision)
            row = {"net": network.name, "precision": precision, **times, "operations": work}
            rows.append(row | ({"share of peak": work / times["median"] / sold} if sold else {}))
            campaign.say(json.dumps(rows[-1]))
    campaign.keep("iterations", {"rows": rows})
    return True


def times_together(campaign: Campaign, seconds: float) -> bool:
    """Times of an iteration of one net where several cifar10_full are trained at once, each on a stream."""
    rows = []
    for count in SHARES[:2] if campaign.rehearse else SHARES:
        solvers = [made_solver(campaign, CONVNET, str(campaign.device)) for _ in range(count)]
        streams = [torch.cuda.Stream() if campaign.device.type == "cuda" else None for _ in solvers]  # type: ignore[no-untyped-call]
        iterations, taken = 1 if campaign.rehearse else together.AT_ONCE, []
        for _ in range(3 if campaign.rehearse else 25):
            start = time.perf_counter()
            for solver, stream in zip(solvers, streams, strict=True):
                with torch.cuda.stream(stream):
                    solver.step(iterations)
            timing.wait(campaign.device)
            taken.append((time.perf_counter() - start) / iterations / count)
        rows.append({"nets": count, **timing.spread(taken[len(taken) // 3 :])})
        campaign.say(json.dumps(rows[-1]))
    campaign.keep("together", {"rows": rows})
    return True


def marked_tests(campaign: Campaign, seconds: float) -> bool:
    """The tests that need a CUDA device: pytest's status and what it printed are kept, and its last line told.

    Of the files that have such tests alone, and without the project's own options, which need pytest-xdist.
    """
    root = Path(__file__).parents[2]
    words = [sys.executable, "-m", "pytest", "-o", "addopts=", "-m", "gpu", "-q", "-p", "no:cacheprovider"]
    words.append("--continue-on-collection-errors")
    try:
        done = subprocess.run(
            words + list(map(str, files_of_gpu_tests(root))),
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    lines = done.stdout.splitlines()
    campaign.keep("tests", {"status": done.returncode, "printed": lines[-200:]})
    ran = "" if done.returncode in (0, 1) else f"; pytest ended with status {done.returncode}: not all tests ran"
    campaign.say((lines[-1] if lines else "nothing printed") + ran)
    return True


def files_of_gpu_tests(root: Path) -> list[Path]:
    """The test files below `root`/tests that have a test with the mark gpu."""
    files = sorted((root / "tests").rglob("test_*.py"))
    return [path for path in files if MARK in path.read_text(encoding="utf-8").splitlines()]


def speedups(campaign: Campaign, seconds: float) -> bool:
    """Tables 4 to 6 on this device: dense over decomposed, in each precision, activations with channels last."""
    network, rounds = speed.ALEXNET, 25
    if campaign.rehearse:
        layers = {name: network.layers[name] for name in ("conv3", "conv4", "conv5")}
        network, rounds = replace(network, batch=1, layers=layers, cases=network.cases[:2]), 3
    for precision in PRECISIONS if campaign.device.type == "cuda" else ("fp32",):
        timer = partial(timing.pass_times, device=campaign.device, precision=precision, rounds=rounds)
        times = {name: speed.time_layer(name, network, timer) for name in network.layers}
        lines = [json.dumps({"layer": layer, "dense": dense, **chains}) for layer, (dense, chains) in times.items()]
        log = speed.log_of(f"alexnet-gpu-{precision}", lines, campaign.work / LOGS.name)
        for case in network.cases:
            found = speed.measures(network, case, times, "GPU speedup")
            row = speed.as_run("alexnet", network, case, found, times, log)
            row = replace(
                row,
                experiment="speed on a GPU",
                method=f"{case.name}, {precision}",
                note=f"{row.note}; precision {precision}, each pass replayed from a CUDA graph",
                paper=case.paper if precision == "fp32" else (),
                command="python -m reproductions.gpu run speedups --work WORK",
            )
            record_run(row, str(campaign.device), campaign.work / RESULTS.name)
            told = ", ".join(f"{layer} {value:.2f}" for (what, layer), value in found.items() if what == "GPU speedup")
            campaign.say(f"{row.method}: {told}")
    campaign.keep("speedups", {"precisions": PRECISIONS})
    return True
