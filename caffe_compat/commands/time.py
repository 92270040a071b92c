"""Measure each layer of a net, forward and backward, in the lines of `caffe time`.

caffe-compat time NET
caffe-compat time --compare NET NET.lowrank.prototxt

Every layer runs on its own piece of the autograd graph, so that its backward pass is timed alone. The log has Caffe's
lines: means over the iterations, in milliseconds; passes before the first iteration warm the caches. A table of the
medians follows on stdout, with the update of each layer's weights by SGD with momentum.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

import caffe_compat as cc
from caffe_compat.commands.compare_time import compare
from caffe_compat.commands.options import add_compat, add_device, add_net, add_state, choose_device, one_of
from caffe_compat.commands.terminal import glog_lines

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_net(parser)
    parser.add_argument("--iterations", type=int, default=50, metavar="N", help="iterations to measure (default 50)")
    parser.add_argument("--phase", choices=("TRAIN", "TEST"), default="TRAIN", help="default TRAIN")
    parser.add_argument(
        "--compare", nargs=2, metavar=("A", "B"), help="time two nets side by side instead: forward passes in TEST"
    )
    parser.add_argument("--warm-up", type=int, default=1, metavar="N", help="iterations before the measured ones")
    add_state(parser)
    add_device(parser)
    add_compat(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.iterations < 1:
        raise cc.SolverError(f"--iterations {arguments.iterations}: must be 1 or more")
    if arguments.compare:
        with glog_lines():
            return compare(arguments)
    path = one_of(arguments.net, arguments.model, "net", "--model")
    with glog_lines():
        device = choose_device(arguments)
        net = cc.Net(
            cc.read_model(path),
            phase=arguments.phase,
            level=arguments.level,
            stages=arguments.stage,
            compat=arguments.compat,
            folder=Path(path).parent,
        )
        measure(net.to(device), arguments.iterations, arguments.warm_up)
    return 0


def measure(net: cc.Net, iterations: int, warm_up: int) -> None:
    """Log the time of each layer and of the whole passes."""
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
    print(medians(timer))


def report(timer: LayerTimer, iterations: int, total: float) -> None:
    """Log the means: per layer, per pass, and the total."""
    log.info("Average time per layer: ")
    for name in timer.net.layers:
        for word, seconds in (("forward", timer.forward_seconds), ("backward", timer.backward_seconds)):
            log.info("%10s\t%s: %g ms.", name, word, 1e3 * seconds[name] / iterations)
    forward, backward = sum(timer.forward_seconds.values()), sum(timer.backward_seconds.values())
    log.info("Average Forward pass: %g ms.", 1e3 * forward / iterations)
    log.info("Average Backward pass: %g ms.", 1e3 * backward / iterations)
    log.info("Average Forward-Backward: %g ms.", 1e3 * total / iterations)
    log.info("Total Time: %g ms.", 1e3 * total)


def medians(timer: LayerTimer) -> str:
    """A table of milliseconds: each layer's median forward, backward and update; a dash where it has none."""
    rows = [("layer", *timer.seconds)]
    for name in timer.net.layers:
        rounds = [timer.seconds[word][name] for word in timer.seconds]
        rows.append((name, *(f"{1e3 * statistics.median(times):.3f}" if times else "-" for times in rounds)))
    totals = [sum(statistics.median(times) for times in each.values() if times) for each in timer.seconds.values()]
    rows.append(("median ms in all", *(f"{1e3 * total:.3f}" for total in totals)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows)


class LayerTimer(fx.Interpreter):
    """Runs the program of a net layer by layer, each on its own piece of the autograd graph, and sums its seconds.

    seconds: "forward", "backward" or "update" -> layer -> seconds of each round.
    """

    def __init__(self, net: cc.Net) -> None:
        super().__init__(net.graph_module, garbage_collect_values=False)
        self.net = net
        self.steps: list[tuple[fx.Node, dict[fx.Node, Any], Any]] = []
        self.loss: Any = 0.0
        self._history: dict[str, list[Tensor]] = {}
        self.synchronize: Callable[[], None] = lambda: None
        if any(parameter.is_cuda for parameter in net.parameters()):
            self.synchronize = torch.cuda.synchronize
        self.clear()

    def clear(self) -> None:
        """Forget the seconds summed so far."""
        self.forward_seconds: dict[str, float] = defaultdict(float)
        self.backward_seconds: dict[str, float] = defaultdict(float)
        words = ("forward", "backward", "update")
        self.seconds: dict[str, dict[str, list[float]]] = {word: defaultdict(list) for word in words}

    def pass_through(self) -> float:
        """One forward and one backward pass; the seconds they took together."""
        before = [dict(sums) for sums in (self.forward_seconds, self.backward_seconds)]
        started = time.perf_counter()
        self.forward()
        self.backward()
        seconds = time.perf_counter() - started
        for word, old, new in zip(self.seconds, before, (self.forward_seconds, self.backward_seconds), strict=False):
            for name, total in new.items():
                self.seconds[word][name].append(total - old.get(name, 0.0))
        return seconds

    def update(self) -> None:
        """One step of SGD with momentum for each layer that has gradients; so small that its weights stay."""
        for name, layer in self.net.layers.items():
            weights = [blob.detach() for blob in layer.blobs if blob.grad is not None]
            gradients = [blob.grad for blob in layer.blobs if blob.grad is not None]
            if weights:
                history = self._history.setdefault(name, [torch.zeros_like(weight) for weight in weights])
                sums: dict[str, float] = defaultdict(float)
                with self._timed(sums, name):
                    cc.momentum_step(weights, gradients, history, rate=1e-20, momentum=0.9)
                self.seconds["update"][name].append(sums[name])

    def forward(self) -> float:
        """Run all layers on the next batch; the loss."""
        self.steps.clear()
        self.net.zero_grad()
        values = self._next_batch()
        _, self.loss = self.run(*(values[name] for name in self.net.input_names))
        return float(self.loss.detach()) if isinstance(self.loss, Tensor) else 0.0

    def _next_batch(self) -> dict[str, Tensor]:
        """The tops of every source; zeros where only a user could feed it, as Caffe times a net with Input layers."""
        values: dict[str, Tensor] = {}
        for name, layer in self.net.layers.items():
            tops = [top for top in layer.param.top if top in self.net.input_names]
            source: Any = layer
            if tops and source.fed:
                values.update((top, torch.zeros(self.net.shapes[top])) for top in tops)
            elif tops:
                with self._timed(self.forward_seconds, name):
                    values.update(zip(tops, source.next_batch(), strict=True))
        return values

    def backward(self) -> None:
        """Carry the gradient of the loss back through every layer that `forward` ran."""
        gradients: dict[fx.Node, list[Tensor | None]] = {}
        if isinstance(self.loss, Tensor):
            gradients[self.steps[-1][0]] = [torch.ones_like(self.loss)]
        for node, inputs, value in reversed(self.steps):
            given = zip(_tensors(value), gradients.pop(node, []), strict=False)
            pairs = [(top, gradient) for top, gradient in given if gradient is not None and top.requires_grad]
            if pairs:
                with self._timed(self.backward_seconds, self._layer_name(node)):
                    torch.autograd.backward([top for top, _ in pairs], [gradient for _, gradient in pairs])
                for source, tensors in inputs.items():
                    _add_gradients(gradients, source, [tensor.grad for tensor in _tensors(tensors)])

    def run_node(self, n: fx.Node) -> Any:
        if n.op in ("placeholder", "output"):
            return super().run_node(n)
        inputs = {node: _cut(self.env[node]) for node in n.all_input_nodes}
        arguments = fx.node.map_arg(n.args, inputs.__getitem__)
        with self._timed(self.forward_seconds, self._layer_name(n)):
            value = getattr(self, n.op)(n.target, arguments, {})
        self.steps.append((n, inputs, value))
        return value

    def _layer_name(self, node: fx.Node) -> str:
        """The layer of a node; what only passes values between layers counts under an empty name."""
        return str(self.fetch_attr(str(node.target)).name) if node.op == "call_module" else ""

    @contextmanager
    def _timed(self, seconds: dict[str, float], name: str) -> Iterator[None]:
        self.synchronize()
        started = time.perf_counter()
        yield
        self.synchronize()
        seconds[name] += time.perf_counter() - started


def _tensors(value: Any) -> list[Tensor]:
    return list(value) if isinstance(value, tuple | list) else [value]


def _cut(value: Any) -> Any:
    """`value` without its history, still asking for a gradient where it did."""
    if isinstance(value, tuple | list):
        return [_cut(part) for part in value]
    return value.detach().requires_grad_(value.requires_grad)


def _add_gradients(gradients: dict[fx.Node, list[Tensor | None]], source: fx.Node, more: list[Tensor | None]) -> None:
    old = gradients.get(source, [None] * len(more))
    gradients[source] = [b if a is None else a if b is None else a + b for a, b in zip(old, more, strict=True)]
