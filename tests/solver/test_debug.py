"""debug_info says of every layer what Caffe says."""

import logging
import re

import pytest

from caffe_compat.proto.model import read_solver
from caffe_compat.solver.solver import Solver
from tests.conftest import golden


@pytest.fixture
def lines(monkeypatch, caplog):
    monkeypatch.chdir(golden("formats", "logs"))
    param = read_solver("solver.prototxt")
    param.debug_info, param.display = True, 2
    param.ClearField("snapshot")
    solver = Solver(param, weights="snap_iter_15.caffemodel")
    weight = solver.net.params["ip1"][0]
    before = weight.detach().abs().mean().item()
    with caplog.at_level(logging.INFO):
        solver.step(2)
    found = [line for line in caplog.messages if line.startswith("    [")]
    return solver, found, before


def test_each_pass_of_a_displayed_iteration_is_explained_in_order(lines):
    _, found, before = lines
    words = [re.sub(r"[-\d.e+]+$|\(.*\)|: .*", "", line).strip() for line in found]
    assert words[:2] == ["[Forward] Layer data, top blob data data", "[Forward] Layer data, top blob label data"]
    assert f"    [Forward] Layer ip1, param blob 0 data: {before:g}" in found
    backward = [line for line in words if line.startswith("[Backward] Layer")]
    assert backward == [
        "[Backward] Layer loss, bottom blob ip1 diff",
        "[Backward] Layer ip1, bottom blob pool1 diff",
        "[Backward] Layer ip1, param blob 0 diff",
        "[Backward] Layer ip1, param blob 1 diff",
        "[Backward] Layer pool1, bottom blob conv1 diff",
        "[Backward] Layer relu1, bottom blob conv1 diff",
        "[Backward] Layer conv1, param blob 0 diff",
        "[Backward] Layer conv1, param blob 1 diff",
    ]
    assert sum("All net params (data, diff): L1 norm = (" in line for line in found) == 1  # of iteration 0 only
    assert [word for word in words if "Update" in word] == [
        f"[Update] Layer {layer}, param {index} data" for layer in ("conv1", "ip1") for index in (0, 1)
    ]


def test_gradients_of_the_last_layer_are_those_it_got(lines):
    _, found, _ = lines
    (line,) = (line for line in found if "[Backward] Layer loss, bottom blob ip1 diff" in line)
    assert 0 < float(line.split(": ")[1]) < 0.1  # a softmax's gradient, divided by the batch of 10
