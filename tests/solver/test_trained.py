"""Whole runs as Caffe 1.0 made them: every line of the log, every blob of the snapshots, and what goes on from them."""

import importlib
import logging
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from caffe_compat.proto.model import read_weights
from caffe_compat.solver.solver import Solver
from caffe_compat.solver.state import read_state
from tests.conftest import golden

CASES = sorted(path.name for path in golden("trained").iterdir() if path.is_dir())
LINES = re.compile(r"Iteration|    \[|    T|Test loss")
VALUES = re.compile(r"(?<=[ (])-?\d[-\d.e+]*")


@pytest.fixture
def case(request, tmp_path, monkeypatch):
    """The files of a case as working directory, without the last snapshot of Caffe's."""
    shutil.copytree(golden("trained", request.param), tmp_path, dirs_exist_ok=True)
    for path in tmp_path.glob("snap_iter_4*"):
        path.rename(path.with_name(f"caffes_{path.name}"))
    monkeypatch.chdir(tmp_path)
    return request.param


def blobs_of(path):
    if "solverstate" in str(path):
        return dict(enumerate(read_state(path).history))
    return {(name, i): blob for name, blobs in read_weights(path).items() for i, blob in enumerate(blobs)}


def assert_last_snapshots_agree():
    for theirs in Path().glob("caffes_*"):
        found, wanted = blobs_of(theirs.name.removeprefix("caffes_")), blobs_of(theirs)
        assert found.keys() == wanted.keys()
        for key, blob in wanted.items():
            np.testing.assert_allclose(found[key], blob, rtol=1e-4, atol=2e-5 * np.abs(blob).max(), err_msg=str(key))


@pytest.mark.parametrize("case", CASES, indirect=True)
@pytest.mark.parametrize("module", ["caffe_compat", "caffe_compat.pycaffe"])
def test_a_run_logs_and_leaves_what_caffes_does(case, module, caplog):
    wanted = Path("caffe.txt").read_text().splitlines()
    with caplog.at_level(logging.INFO):
        if module == "caffe_compat":
            Solver("solver.prototxt").solve()
        else:
            importlib.import_module(module).get_solver("solver.prototxt").solve()
    found = [line for line in caplog.messages if LINES.match(line)]
    assert [VALUES.sub("#", line) for line in found] == [VALUES.sub("#", line) for line in wanted]
    for mine, theirs in zip(found, wanted, strict=True):
        sides = [[float(number) for number in VALUES.findall(line)] for line in (mine, theirs)]
        assert sides[0] == pytest.approx(sides[1], rel=5e-5, abs=1e-6), mine  # six digits
    assert_last_snapshots_agree()


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_a_run_goes_on_from_caffes_snapshot_to_caffes_end(case):
    (state,) = Path().glob("snap_iter_2.solverstate*")
    Solver("solver.prototxt").solve(state)
    assert_last_snapshots_agree()
