"""debug_info says of every layer what Caffe says."""

import logging
import re
from pathlib import Path

import numpy as np
import pytest

from caffe_compat.proto.model import read_solver
from caffe_compat.solver.solver import Solver
from caffe_compat.solver.state import read_state
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


def test_gradients_of_the_last_layer_are_those_it_got(lines):
    _, found, _ = lines
    (line,) = (line for line in found if "[Backward] Layer loss, bottom blob ip1 diff" in line)
    assert 0 < float(line.split(": ")[1]) < 0.1  # a softmax's gradient, divided by the batch of 10


def test_every_line_of_a_run_is_caffes(monkeypatch, caplog, tmp_path):
    """golden/debug_info: Splits, a named and a frozen blob, BatchNorm, propagate_down, iter_size, tests."""
    monkeypatch.chdir(golden("debug_info"))
    wanted = Path("caffe.txt").read_text().splitlines()
    param = read_solver("solver.prototxt")
    param.snapshot_prefix = str(tmp_path / "snap")
    with caplog.at_level(logging.INFO):
        Solver(param, weights="init.caffemodel", compat="wen2017").solve()
    form = re.compile(r"Iteration|    \[|    T|Test loss|Gradient")
    found = [line for line in caplog.messages if form.match(line)]
    values = re.compile(r"(?<=[ (])-?\d[-\d.e+]*")
    assert [values.sub("#", line) for line in found] == [values.sub("#", line) for line in wanted]
    for mine, theirs in zip(found, wanted, strict=True):
        sides = [[float(number) for number in values.findall(line)] for line in (mine, theirs)]
        assert sides[0] == pytest.approx(sides[1], rel=2e-5, abs=1e-7), mine  # six digits; sums of 600 losses
    states = [read_state(folder / "snap_iter_4.solverstate") for folder in (tmp_path, Path())]
    for ours, caffes in zip(*(state.history for state in states), strict=True):  # of BatchNorm's blobs too
        np.testing.assert_allclose(ours, caffes, rtol=1e-4, atol=1e-6 * np.abs(caffes).max())
