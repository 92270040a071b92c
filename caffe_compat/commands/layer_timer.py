"""Seconds of each layer of a net: forward, backward, and the update of its weights."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx

import caffe_compat as cc


class LayerTimer(fx.Interpreter):
    """Runs the program of a net layer by layer, each on its own piece of the autograd graph, and sums its seconds.

    seconds: "forward", "backward" or "update" -> layer -> seconds of each round. A layer is the module itself, for
    names may be shared; what only passes values between layers counts under None.
    """

    def __init__(self, net: cc.Net) -> None:
        super().__init__(net.graph_module, garbage_collect_values=False)
        self.net = net
        self.steps: list[tuple[fx.Node, dict[fx.Node, Any], Any]] = []
        self.loss: Any = 0.0
        self._history: dict[Any, list[Tensor]] = {}
        place = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
        sources = [layer for _, layer in net.steps if getattr(layer, "fed", False)]
        fed = {top: net.shapes[top] for layer in sources for top in layer.param.top}
        self._given = {name: torch.from_numpy(each).to(place) for name, each in cc.valid_inputs(net, 0, fed).items()}
        self.synchronize: Callable[[], None] = lambda: None
        if any(parameter.is_cuda for parameter in net.parameters()):
            self.synchronize = torch.cuda.synchronize
        self.clear()

    def clear(self) -> None:
        """Forget the seconds summed so far."""
        self.forward_seconds: dict[Any, float] = defaultdict(float)
        self.backward_seconds: dict[Any, float] = defaultdict(float)
        words = ("forward", "backward", "update")
        self.seconds: dict[str, dict[Any, list[float]]] = {word: defaultdict(list) for word in words}

    def pass_through(self) -> float:
        """One forward and one backward pass; the seconds they took together."""
        before = [dict(sums) for sums in (self.forward_seconds, self.backward_seconds)]
        started = time.perf_counter()
        self.forward()
        self.backward()
        seconds = time.perf_counter() - started
        for word, old, new in zip(self.seconds, before, (self.forward_seconds, self.backward_seconds), strict=False):
            for layer, total in new.items():
                self.seconds[word][layer].append(total - old.get(layer, 0.0))
        return seconds

    def update(self) -> None:
        """One step of SGD with momentum for each layer that has gradients; so small that its weights stay."""
        for _, layer in self.net.steps:
            weights = [blob.detach() for blob in layer.blobs if blob.grad is not None]
            gradients = [blob.grad for blob in layer.blobs if blob.grad is not None]
            if weights:
                history = self._history.setdefault(layer, [torch.zeros_like(weight) for weight in weights])
                sums: dict[Any, float] = defaultdict(float)
                with self._timed(sums, layer):
                    cc.momentum_step(weights, gradients, history, rate=1e-20, momentum=0.9)
                self.seconds["update"][layer].append(sums[layer])

    def forward(self) -> float:
        """Run all layers on the next batch; the loss."""
        self.steps.clear()
        self.net.zero_grad()
        values = self._next_batch()
        _, self.loss = self.run(*(values[name] for name in self.net.input_names))
        return float(self.loss.detach()) if isinstance(self.loss, Tensor) else 0.0

    def _next_batch(self) -> dict[str, Tensor]:
        """The tops of every source; valid values, always the same, where only a user could feed it."""
        values: dict[str, Tensor] = {}
        for _, layer in self.net.steps:
            tops = [top for top in layer.param.top if top in self.net.input_names]
            source: Any = layer
            if tops and source.fed:
                values.update((top, self._given[top]) for top in tops)
            elif tops:
                with self._timed(self.forward_seconds, layer):
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
                with self._timed(self.backward_seconds, self._layer(node)):
                    torch.autograd.backward([top for top, _ in pairs], [gradient for _, gradient in pairs])
                for source, tensors in inputs.items():
                    _add_gradients(gradients, source, [tensor.grad for tensor in _tensors(tensors)])

    def run_node(self, n: fx.Node) -> Any:
        if n.op in ("placeholder", "output"):
            return super().run_node(n)
        inputs = {node: _cut(self.env[node]) for node in n.all_input_nodes}
        arguments = fx.node.map_arg(n.args, inputs.__getitem__)
        with self._timed(self.forward_seconds, self._layer(n)):
            value = getattr(self, n.op)(n.target, arguments, {})
        self.steps.append((n, inputs, value))
        return value

    def _layer(self, node: fx.Node) -> Any:
        """The layer of a node; None for what only passes values between layers."""
        module = self.fetch_attr(str(node.target)) if node.op == "call_module" else None
        return getattr(module, "layer", module)  # one with a hazard in place has its layer in it

    @contextmanager
    def _timed(self, seconds: dict[Any, float], layer: Any) -> Iterator[None]:
        self.synchronize()
        started = time.perf_counter()
        yield
        self.synchronize()
        seconds[layer] += time.perf_counter() - started


def _tensors(value: Any) -> list[Tensor]:
    every = list(value) if isinstance(value, tuple | list) else [value]
    return [each for each in every if isinstance(each, Tensor)]


def _cut(value: Any) -> Any:
    """`value` without its history, still asking for a gradient where it did."""
    if isinstance(value, tuple | list):
        return [_cut(part) for part in value]
    return value.detach().requires_grad_(value.requires_grad) if isinstance(value, Tensor) else value


def _add_gradients(gradients: dict[fx.Node, list[Tensor | None]], source: fx.Node, more: list[Tensor | None]) -> None:
    old = gradients.get(source, [None] * len(more))
    gradients[source] = [b if a is None else a if b is None else a + b for a, b in zip(old, more, strict=True)]
