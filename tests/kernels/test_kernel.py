"""How loops get their arguments and their parts; expected values are plain sums."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from array import array
from pathlib import Path

import numpy as np
import pytest
import torch

numba = pytest.importorskip("numba", reason="the package numba is not installed")

from caffe_compat.kernels import kernel as under_test  # noqa: E402
from caffe_compat.kernels.kernel import floats_at, kernel, next_part, number, words_at  # noqa: E402


@kernel
def _scaled(q):
    """values, their number, a factor, and how often each part was done."""
    values, parts = numba.carray(floats_at(q[2]), q[3]), q[1]
    done = numba.carray(words_at(q[5]), parts)
    part = next_part(q)
    while part < parts:
        for i in range(part * q[3] // parts, (part + 1) * q[3] // parts):
            values[i] *= number(q[4])
        done[part] += 1
        part = next_part(q)


@pytest.mark.parametrize("has_team", [True, False])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_part_is_done_once_whatever_the_threads(threads, has_team, monkeypatch):
    if not has_team:
        monkeypatch.setattr(under_test, "team", lambda: None)
    values = np.arange(1001, dtype=np.float32)
    done = np.zeros(threads * 4, np.int64)
    _scaled(len(values), values, len(values), 0.5, done, threads=threads)
    assert (values == np.arange(1001) / 2).all()
    assert done.tolist() == ([1] * threads * 4 if threads > 1 else [1, 0, 0, 0])


def test_tensors_and_arrays_are_passed_by_their_address():
    tensor, done = torch.ones(7), array("q", [0] * 64)
    _scaled(7, tensor, 7, 3.0, done)
    assert tensor.tolist() == [3.0] * 7
    assert sum(done) == 1


@pytest.mark.parametrize("factor", [0.5, np.float64(0.5), np.float32(0.5)])
@pytest.mark.parametrize("count", [7, np.int64(7)])
def test_numbers_of_numpy_are_passed_by_their_value(count, factor):
    values = np.ones(7, np.float32)
    _scaled(7, values, count, factor, np.zeros(64, np.int64))
    assert values.tolist() == [0.5] * 7


def test_little_work_wakes_no_other_thread():
    done = np.zeros(64, np.int64)
    _scaled(10, np.ones(10, np.float32), 10, 1.0, done)
    assert done.sum() == 1


def test_loops_run_where_no_machine_code_can_be_kept(tmp_path):
    loops = Path(under_test.__file__).parent
    shutil.copytree(loops, tmp_path / "caffe_compat" / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("caffe_compat/__init__.py", "caffe_compat/kernels/__pycache__", "home"):  # the last two no folders
        (tmp_path / file).touch()
    code = """
import numpy as np
from caffe_compat.kernels import kernel, pooling
x, y = np.array([[[[1], [3]], [[2], [0]]]], np.float32), np.zeros((1, 1, 1, 1), np.float32)
pooling.maxima(4, x, y, 1, 2, 2, 1, 1, 1, 2, 2, 2, 2, 0, 0)
print(kernel.COMPILED["cache"], y.item())
"""
    home = str(tmp_path / "home")
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    away = {**kept, "PYTHONPATH": str(tmp_path), "HOME": home, "XDG_CACHE_HOME": home}
    done = subprocess.run(
        [sys.executable, "-c", code], env=away, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "False 3.0\n", done.stderr


@pytest.mark.skipif(under_test.team() is None, reason="torch has another OpenMP here")
def test_a_loop_that_runs_before_torch_is_loaded_keeps_no_later_one_from_its_threads(monkeypatch):
    under_test._team_of.cache_clear()
    monkeypatch.setitem(sys.modules, "torch", None)
    _scaled(1, np.ones(1, np.float32), 1, 2.0, np.zeros(4, np.int64), threads=1)
    assert under_test.team() is None
    monkeypatch.undo()
    assert under_test.team() is not None


def test_machine_code_older_than_any_module_is_made_anew(tmp_path):
    (tmp_path / "__pycache__").mkdir()
    for name, seconds in (
        ("loop.py", 10),
        ("vectors.py", 20),
        ("__pycache__/old.nbi", 15),
        ("__pycache__/new.nbi", 25),
    ):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (seconds, seconds))
    under_test._forget_stale(tmp_path)
    assert [path.name for path in (tmp_path / "__pycache__").iterdir()] == ["new.nbi"]


def test_a_package_whose_modules_are_no_files_keeps_its_machine_code(tmp_path):
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "known.nbi").touch()
    for folder in (tmp_path, tmp_path / "archive.zip"):
        under_test._forget_stale(folder)
    assert [path.name for path in (tmp_path / "__pycache__").iterdir()] == ["known.nbi"]
