"""K nets of cifar10_full trained as one batched step, against K processes with a thread each; two threads in all.

The batched step has the nets' weights in one tensor a layer: the first convolution reads the images once for all of
them, the others are convolutions of K groups, the inner products one batched product. Both sides are plain PyTorch, as
fast as can be written (test_training_against_plain_torch.py), without data or log; they take turns. As neither wins,
`python -m reproductions.NET.run` trains one net a process.

Run: OMP_NUM_THREADS=2 python -m pytest -m benchmark -s tests/benchmarks/test_several_nets.py
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.benchmarks.test_training_against_plain_torch import PlainCifar10Full

ROUNDS, ITERATIONS, WARM_UP, BATCH = 5, 10, 3, 100
PATIENCE = 300.0  # seconds that anything may take


class Batched(nn.Module):
    """`count` nets at once, from the weights of as many PlainCifar10Full; gives the sum of their losses."""

    def __init__(self, nets: list[PlainCifar10Full]) -> None:
        super().__init__()
        self.count = len(nets)
        for name in ("conv1", "conv2", "conv3"):
            layers = [getattr(net, name) for net in nets]
            self.register_parameter(f"{name}_weight", nn.Parameter(torch.cat([layer.weight for layer in layers])))
            self.register_parameter(f"{name}_bias", nn.Parameter(torch.cat([layer.bias for layer in layers])))
        self.ip1_weight = nn.Parameter(torch.stack([net.ip1.weight.T for net in nets]))
        self.ip1_bias = nn.Parameter(torch.stack([net.ip1.bias[None] for net in nets]))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        norm, count = PlainCifar10Full.norm, self.count
        x = F.conv2d(x, self.conv1_weight, self.conv1_bias, padding=2)
        x = norm(F.relu(F.max_pool2d(x, 3, 2, ceil_mode=True), inplace=True))
        x = F.relu(F.conv2d(x, self.conv2_weight, self.conv2_bias, padding=2, groups=count), inplace=True)
        x = norm(F.avg_pool2d(x, 3, 2, ceil_mode=True))
        x = F.relu(F.conv2d(x, self.conv3_weight, self.conv3_bias, padding=2, groups=count), inplace=True)
        x = F.avg_pool2d(x, 3, 2, ceil_mode=True)
        x = x.reshape(len(x), count, -1).transpose(0, 1)
        scores = torch.baddbmm(self.ip1_bias, x, self.ip1_weight)
        return F.cross_entropy(scores.flatten(0, 1), labels.repeat(count), reduction="sum") / len(labels)


class Single(nn.Module):
    """The loss of one net."""

    def __init__(self, net: PlainCifar10Full) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.net(x), labels)


def made(seed: int) -> PlainCifar10Full:
    torch.manual_seed(seed)
    return PlainCifar10Full()


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    return x, torch.randint(0, 10, (BATCH,))


def trainer(module: nn.Module) -> Any:
    """A function that makes a number of iterations."""
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    update = torch.optim.SGD(module.parameters(), 1e-3, 0.9, weight_decay=0.004, foreach=True)
    x, labels = batch()

    def train(iterations: int) -> None:
        for _ in range(iterations):
            update.zero_grad(set_to_none=True)
            module(x, labels).backward()
            update.step()

    train(WARM_UP)
    return train


def work(seed: int, connection: Any) -> None:
    """A process: iterations whenever the parent asks for them, until it asks for none."""
    torch.set_num_threads(1)
    train = trainer(Single(made(seed)))
    connection.send("ready")
    while iterations := connection.recv():
        train(iterations)
        connection.send("done")


def heard(connection: Any) -> None:
    if not connection.poll(PATIENCE):
        pytest.fail("a process does not answer")
    connection.recv()


def test_the_batched_step_trains_each_net_as_alone() -> None:
    nets = [made(seed) for seed in (1, 2)]
    together, (x, labels) = Batched(nets), batch()
    loss = together(x, labels)
    loss.backward()
    losses = [Single(net)(x, labels) for net in nets]
    torch.testing.assert_close(loss, sum(losses))
    sum(losses).backward()  # type: ignore[union-attr]
    wanted = torch.cat([net.conv2.weight.grad for net in nets])
    torch.testing.assert_close(together.conv2_weight.grad, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.benchmark
@pytest.mark.parametrize("count", [2, 4])
def test_a_batched_step_is_no_faster_than_a_process_each(count: int) -> None:
    context = multiprocessing.get_context("fork")
    pairs = [context.Pipe() for _ in range(count)]
    processes = [context.Process(target=work, args=(seed, end)) for seed, (_, end) in enumerate(pairs)]
    for process in processes:
        process.start()
    try:
        for connection, _ in pairs:
            heard(connection)
        torch.set_num_threads(2)
        train = trainer(Batched([made(seed) for seed in range(count)]))
        times: dict[str, list[float]] = {"batched": [], "processes": []}
        for _ in range(ROUNDS):
            start = time.perf_counter()
            train(ITERATIONS)
            times["batched"].append((time.perf_counter() - start) / ITERATIONS / count)
            start = time.perf_counter()
            for connection, _ in pairs:
                connection.send(ITERATIONS)
            for connection, _ in pairs:
                heard(connection)
            times["processes"].append((time.perf_counter() - start) / ITERATIONS / count)
        for connection, _ in pairs:
            connection.send(0)
    finally:
        for process in processes:
            process.join(10)
            process.kill()
    batched, separate = (statistics.median(times[name]) for name in ("batched", "processes"))
    ratio = batched / separate
    print(f"{count} nets: {1e3 * batched:.1f} ms batched, {1e3 * separate:.1f} ms in processes, {ratio:.2f}")
    assert ratio >= 0.95
