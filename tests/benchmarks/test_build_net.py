"""Building a Net: the whole of it against only drawing its weights, and with weights given instead of drawn.

Run with `pytest tests/benchmarks/test_build_net.py -m benchmark -s`.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from caffe_compat.net.net import Net
from caffe_compat.proto.model import Model, read_net
from tests.conftest import golden

pytestmark = pytest.mark.benchmark

ROUNDS = 7


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def gaussian(name: str) -> Any:
    """The golden net with every weight drawn, as training nets have it."""
    param = read_net(golden("nets", f"{name}.prototxt"))
    for layer in param.layer:
        for field in ("convolution_param", "inner_product_param"):
            if layer.HasField(field):
                getattr(layer, field).weight_filler.type = "gaussian"
    return param


@pytest.mark.parametrize("name", ["googlenet_deploy", "alexnet"])
def test_a_net_is_built_in_little_more_than_its_weights_are_drawn(name: str) -> None:
    param = gaussian(name)
    shapes = [blob.shape for blobs in Net(param).params.values() for blob in blobs if blob.dim() > 1]
    weights = Net(param).weights()
    drawing, drawn, given = [], [], []
    for _ in range(ROUNDS):
        drawing.append(seconds(lambda: [torch.empty(shape).normal_() for shape in shapes]))
        drawn.append(seconds(lambda: Net(param)))
        given.append(seconds(lambda: Net(Model(param, weights))))
    print(
        f"\n{name}, torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.processor()}: "
        f"built in {statistics.median(drawn):.3f} s ({min(drawn):.3f} to {max(drawn):.3f}), "
        f"with weights given in {statistics.median(given):.3f} s ({min(given):.3f} to {max(given):.3f}), "
        f"the weights alone are drawn in {statistics.median(drawing):.3f} s"
    )
    assert statistics.median(drawn) < 1.5 * statistics.median(drawing) + 0.5
    assert statistics.median(given) < statistics.median(drawing) + 0.5
