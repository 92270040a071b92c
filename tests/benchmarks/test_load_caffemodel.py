"""Loading a .caffemodel the size of AlexNet's: buffers against protobuf's lists, in time and in memory.

Run with `pytest tests/benchmarks/test_load_caffemodel.py -m benchmark -s`.
"""

import platform
import statistics
import subprocess
import sys
import time

import google.protobuf
import numpy as np
import pytest

from caffe_compat.proto import schema
from caffe_compat.proto.binary import read_net, write_net

pytestmark = pytest.mark.benchmark

# Shapes of AlexNet (Krizhevsky et al. 2012, as bvlc_alexnet): 60.97 million parameters
SHAPES = {
    "conv1": (96, 3, 11, 11), "conv2": (256, 48, 5, 5), "conv3": (384, 256, 3, 3), "conv4": (384, 192, 3, 3),
    "conv5": (256, 192, 3, 3), "fc6": (4096, 9216), "fc7": (4096, 4096), "fc8": (1000, 4096),
}  # fmt: skip
ROUNDS = 7


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory):
    path = tmp_path_factory.mktemp("alexnet") / "alexnet.caffemodel"
    random, net, weights = np.random.default_rng(1), schema.NetParameter(name="AlexNet"), {}
    for name, shape in SHAPES.items():
        net.layer.add(name=name, type="Convolution" if len(shape) == 4 else "InnerProduct")
        weights[name] = (random.standard_normal(shape, np.float32), random.standard_normal(shape[0], np.float32))
    write_net(path, net, weights)
    return path, weights


def decode_lists(path):
    """Weights as a plain protobuf reader gets them: parse the message, make an array of each list."""
    net = schema.NetParameter.FromString(path.read_bytes())
    return {
        layer.name: tuple(np.array(blob.data, np.float32).reshape(tuple(blob.shape.dim)) for blob in layer.blobs)
        for layer in net.layer
    }


def seconds(function, path):
    start = time.perf_counter()
    function(path)
    return time.perf_counter() - start


def peak_memory(statement, path):
    """Bytes of resident memory that `statement` adds at its peak, in a process of its own (Linux: VmHWM)."""
    code = (
        "import pathlib, re, sys\n"
        "from caffe_compat.proto.binary import read_net\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])\n"
        f"before = peak()\n{statement}\nprint(peak() - before)"
    )
    output = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout
    return int(output) * 1024


def test_alexnet_loads_in_under_a_second_and_in_2_3_times_its_size(alexnet):
    path, weights = alexnet
    size = path.stat().st_size
    found, plain = read_net(path)[1], decode_lists(path)
    for name, arrays in weights.items():
        for array, ours, theirs in zip(arrays, found[name], plain[name], strict=True):
            np.testing.assert_array_equal(ours, array, strict=True)
            np.testing.assert_array_equal(theirs, array, strict=True)
    del found, plain

    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(seconds(read_net, path))
        theirs.append(seconds(decode_lists, path))
    memory = peak_memory("kept = read_net(path)", path)
    ratios = sorted(b / a for a, b in zip(ours, theirs, strict=True))
    print(
        f"\n{size / 1e6:.0f} MB; {platform.processor() or platform.machine()}, Python {platform.python_version()}, "
        f"protobuf {google.protobuf.__version__}, numpy {np.__version__}, page cache warm\n"
        f"buffers: {statistics.median(ours) * 1e3:.0f} ms (from {min(ours) * 1e3:.0f} to {max(ours) * 1e3:.0f}), "
        f"peak {memory / size:.2f} x file\n"
        f"lists:   {statistics.median(theirs) * 1e3:.0f} ms (from {min(theirs) * 1e3:.0f} to {max(theirs) * 1e3:.0f})\n"
        f"lists / buffers, ratio of medians: {statistics.median(theirs) / statistics.median(ours):.1f} "
        f"(single rounds {ratios[0]:.1f} to {ratios[-1]:.1f})"
    )
    assert statistics.median(ours) < 1
    assert memory < 2.3 * size
