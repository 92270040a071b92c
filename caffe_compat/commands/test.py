"""Score a net on its own test data: every batch, then the mean of each output, as `caffe test` prints them."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import caffe_compat as cc
from caffe_compat.commands.costs import add_json, print_json
from caffe_compat.commands.numbers import whole_number
from caffe_compat.commands.options import (
    add_compat,
    add_device,
    add_net,
    add_state,
    add_weights,
    choose_device,
    deployed_inputs,
    load,
    one_of,
)
from caffe_compat.commands.terminal import glog_lines

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_net(parser)
    add_weights(parser)
    parser.add_argument(
        "--iterations", type=whole_number(), default=50, metavar="N", help="batches to run (default 50)"
    )
    add_json(parser)
    add_state(parser)
    add_device(parser)
    add_compat(parser)


def run(arguments: argparse.Namespace) -> int:
    path = one_of(arguments.net, arguments.model, "net", "--model")
    if not arguments.weights:
        raise cc.WeightsError("--weights: none given; a net is scored with trained weights: --weights FILE")
    if arguments.iterations < 1:
        raise cc.SolverError(f"--iterations {arguments.iterations}: must be 1 or more")
    cc.refuse_exchanged(path, arguments.weights)
    with glog_lines():
        device = choose_device(arguments)
        net = cc.Net(
            cc.read_model(path),
            phase="TEST",
            level=arguments.level,
            stages=arguments.stage,
            compat=arguments.compat,
            folder=Path(path).parent,
        )
        refuse_deploy_net(net, path)
        load(net, arguments.weights)
        loss, means = report(net.to(device), arguments.iterations)
    if arguments.json:
        print_json({"iterations": arguments.iterations, "loss": loss, "outputs": means})
    return 0


def refuse_deploy_net(net: cc.Net, path: str) -> None:
    """GraphError where nothing in `net` gives it data: then there is nothing to score it on."""
    inputs = deployed_inputs(net)
    if inputs:
        raise cc.GraphError(
            f"{path}: is a deploy net: its inputs ({', '.join(inputs)}) come from whoever uses it; score the net that "
            "has the data layers, such as train_val.prototxt, or let it say what is in images: "
            f"caffe-compat classify --model {path} --weights WEIGHTS IMAGE"
        )


def report(net: cc.Net, iterations: int) -> tuple[float, dict[str, Any]]:
    """Log every value of every output of each batch, then the mean loss and the mean of every output; gives these."""
    log.info("Running for %d iterations.", iterations)
    losses, sums = 0.0, dict[str, Any]()
    prepared = net.prepare()
    for iteration in range(iterations):
        outputs, loss = prepared.forward_with_loss()
        losses += float(loss)
        for name, top in outputs.items():
            values = top.detach().double().cpu().numpy().ravel()
            for value in values:
                log.info("Batch %d, %s = %s", iteration, name, f"{value:g}")
            sums[name] = sums.get(name, 0.0) + values
    log.info("Loss: %s", f"{losses / iterations:g}")
    weights = cc.output_weights(net)
    for name, total in sums.items():
        for value in total / iterations:
            scaled = f" (* {weights[name]:g} = {weights[name] * value:g} loss)" if weights[name] else ""
            log.info("%s = %s%s", name, f"{value:g}", scaled)
    means = {name: total / iterations for name, total in sums.items()}
    return losses / iterations, {name: float(mean[0]) if mean.size == 1 else mean for name, mean in means.items()}
