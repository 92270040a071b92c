"""The force of AlexNet's conv3 (384 x 2304) against a plain double loop over pairs, and against training itself."""

import itertools
import platform
import statistics
import time

import numpy as np
import pytest
import torch

from caffe_compat.solver.regularizers.force import force_gradient

pytestmark = pytest.mark.benchmark


def loop_over_pairs(weight):
    """The l1 force as one would write it in NumPy: two loops over filters, vectors along the filter."""
    length = np.linalg.norm(weight, axis=1)
    unit = weight / length[:, None]
    force = np.zeros_like(weight)
    for i in range(len(weight)):
        for j in range(i + 1, len(weight)):
            pull = unit[i] - unit[j]
            distance = np.sqrt(pull @ pull)
            if distance > 1e-4:
                pull /= distance
                force[i] += pull
                force[j] -= pull
    force -= (force * unit).sum(1, keepdims=True) * unit
    return force * length[:, None]


def seconds(function, *arguments):
    started = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - started, result


def test_force_takes_less_than_a_twentieth_of_the_loop_over_pairs(capsys):
    weight = torch.randn(384, 2304, generator=torch.Generator().manual_seed(1)) / 48
    force_gradient(weight)
    ours, loops = [], []
    for _ in range(7):
        ours.append(min(seconds(force_gradient, weight)[0] for _ in range(3)))
        time_of_loop, expected = seconds(loop_over_pairs, weight.numpy())
        loops.append(time_of_loop)
    atol = 1e-4 * np.abs(expected).max()  # the loop sums in float32
    np.testing.assert_allclose(force_gradient(weight), expected, rtol=0, atol=atol)
    ratios = sorted(a / b for a, b in zip(ours, loops, strict=True))
    with capsys.disabled():
        print(
            f"\nforce 384x2304 Constant: {1e3 * statistics.median(ours):.1f} ms, loop over pairs "
            f"{1e3 * statistics.median(loops):.0f} ms, ratio {statistics.median(ratios):.3f} "
            f"({ratios[0]:.3f} to {ratios[-1]:.3f}); {torch.get_num_threads()} threads, torch {torch.__version__}, "
            f"NumPy {np.__version__}, {platform.machine()}"
        )
    assert statistics.median(ratios) < 0.05


def peak_bytes(function, *arguments):
    """The most bytes that PyTorch's allocator has given out at one time during a call."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        function(*arguments)
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(itertools.accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())))


@pytest.mark.parametrize("kind", ["Constant", "Degradation", "Gravity"])
@pytest.mark.parametrize("shape", [(384, 2304), (512, 2400)])
def test_force_needs_at_most_three_times_the_memory_of_the_weight(shape, kind, capsys):
    """The result itself, 1, and all that is in passing."""
    weight = torch.randn(shape)
    times = peak_bytes(force_gradient, weight, kind) / weight.nbytes
    with capsys.disabled():
        print(f"\nforce {shape[0]}x{shape[1]} {kind}: {times:.2f} times the weight, its result included")
    assert times <= 3


@pytest.mark.parametrize("kind", ["Constant", "Degradation"])
def test_force_of_convnet_is_under_three_hundredths_of_its_convolutions(kind, capsys):
    """cifar10_full, batch 100: its forced banks against forward and backward of its convolutions alone."""
    images = torch.randn(100, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    shapes = [(32, 3, 5, 5), (32, 32, 5, 5), (64, 32, 5, 5)]
    banks = [(torch.randn(shape) / 20).requires_grad_() for shape in shapes]

    def convolutions():
        value = images
        for bank in banks:
            value = torch.nn.functional.conv2d(value, bank, padding=2)
            value = value if bank is banks[-1] else torch.nn.functional.max_pool2d(value, 2)
        value.sum().backward()

    def force():
        for bank in banks:
            force_gradient(bank, kind)

    convolutions(), force()
    pairs = [(min(seconds(force)[0] for _ in range(3)), seconds(convolutions)[0]) for _ in range(15)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    with capsys.disabled():
        print(f"\nforce {kind} of ConvNet: {1e3 * ours:.2f} ms, its convolutions {1e3 * theirs:.1f} ms")
    assert ours / theirs < 0.03
