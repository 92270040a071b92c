"""Measure each layer of a net, forward and backward, in the lines of `caffe time`.

caffe-compat time NET
caffe-compat time --compare NET NET.lowrank.prototxt

Every layer runs on its own piece of the autograd graph, so that its backward pass is timed alone. The log has Caffe's
lines: means over the iterations, in milliseconds; passes before the first iteration warm the caches. A table of the
medians follows on stdout, with the update of each layer's weights by SGD with momentum.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import caffe_compat as cc
from caffe_compat.commands.advice import deploy_advised
from caffe_compat.commands.compare_time import compare
from caffe_compat.commands.numbers import whole_number
from caffe_compat.commands.options import (
    add_backend,
    add_compat,
    add_device,
    add_net,
    add_state,
    add_weights,
    choose_device,
    one_of,
)
from caffe_compat.commands.terminal import glog_lines

if TYPE_CHECKING:
    from caffe_compat.commands.layer_timer import LayerTimer

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_net(parser)
    add_weights(parser)
    parser.add_argument(
        "--iterations", type=whole_number(), default=50, metavar="N", help="iterations to measure (default 50)"
    )
    parser.add_argument("--phase", choices=("TRAIN", "TEST"), default="TRAIN", help="default TRAIN")
    parser.add_argument(
        "--compare", nargs=2, metavar=("A", "B"), help="time two nets side by side instead: forward passes in TEST"
    )
    add_backend(parser)
    parser.add_argument(
        "--warm-up", type=whole_number(0), default=1, metavar="N", help="iterations before the measured ones"
    )
    parser.add_argument("--json", action="store_true", help="print the medians as JSON, in milliseconds")
    add_state(parser)
    add_device(parser)
    add_compat(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.iterations < 1:
        raise cc.SolverError(f"--iterations {arguments.iterations}: must be 1 or more")
    if arguments.compare:
        if arguments.weights:
            raise cc.SolverError("time: --weights are of one net; --compare times two as their fillers make them")
        with glog_lines():
            return compare(arguments)
    if arguments.backend:
        raise cc.SolverError("--backend: is for whole nets side by side; give --compare A B")
    path = one_of(arguments.net, arguments.model, "net", "--model")
    with glog_lines(), deploy_advised(path, ",".join(arguments.weights), "time"):
        device = choose_device(arguments)
        net = cc.Net(
            cc.read_model(path, arguments.weights or None),
            phase=arguments.phase,
            level=arguments.level,
            stages=arguments.stage,
            compat=arguments.compat,
            folder=Path(path).parent,
        )
        timer = measure(net.to(device), arguments.iterations, arguments.warm_up)
    if arguments.json:
        print(json.dumps([{"layer": name, **times} for name, times in median_rows(timer)]))
    else:
        print(medians(timer))
    return 0


def measure(net: cc.Net, iterations: int, warm_up: int) -> LayerTimer:
    """Log the time of each layer and of the whole passes; gives what was measured."""
    from caffe_compat.commands.layer_timer import LayerTimer

    timer = LayerTimer(net)
    log.info("Performing Forward")
    log.info("Initial loss: %g", timer.forward())
    log.info("Performing Backward")
    timer.backward()
    for _ in range(warm_up):
        timer.pass_through()
    timer.clear()
    log.info("*** Benchmark begins ***")
    log.info("Testing for %d iterations.", iterations)
    started = time.perf_counter()
    for iteration in range(iterations):
        seconds = timer.pass_through()
        log.info("Iteration: %d forward-backward time: %g ms.", iteration + 1, 1e3 * seconds)
    report(timer, iterations, time.perf_counter() - started)
    log.info("*** Benchmark ends ***")
    for _ in range(warm_up):
        timer.update()
    timer.seconds["update"].clear()
    for _ in range(iterations):
        timer.update()
    return timer


def report(timer: LayerTimer, iterations: int, total: float) -> None:
    """Log the means: per layer, per pass, and the total."""
    log.info("Average time per layer: ")
    for _, layer in timer.net.steps:
        for word, seconds in (("forward", timer.forward_seconds), ("backward", timer.backward_seconds)):
            log.info("%10s\t%s: %g ms.", layer.name, word, 1e3 * seconds[layer] / iterations)
    forward, backward = sum(timer.forward_seconds.values()), sum(timer.backward_seconds.values())
    log.info("Average Forward pass: %g ms.", 1e3 * forward / iterations)
    log.info("Average Backward pass: %g ms.", 1e3 * backward / iterations)
    log.info("Average Forward-Backward: %g ms.", 1e3 * total / iterations)
    log.info("Total Time: %g ms.", 1e3 * total)


def median_rows(timer: LayerTimer) -> list[tuple[str, dict[str, float | None]]]:
    """Each layer with its median forward, backward and update in milliseconds; None where it has none."""
    return [
        (
            layer.name,
            {
                word: 1e3 * statistics.median(each[layer]) if each[layer] else None
                for word, each in timer.seconds.items()
            },
        )
        for _, layer in timer.net.steps
    ]


def medians(timer: LayerTimer) -> str:
    """A table of milliseconds: each layer's median forward, backward and update; a dash where it has none."""
    found = median_rows(timer)
    rows = [("layer", *timer.seconds)]
    rows += [(name, *("-" if each is None else f"{each:.3f}" for each in times.values())) for name, times in found]
    totals = [sum(times[word] or 0 for _, times in found) for word in timer.seconds]
    rows.append(("median ms in all", *(f"{total:.3f}" for total in totals)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows)
