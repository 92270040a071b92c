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


_POOLS = """
import logging
logging.basicConfig(level="INFO", format="%(message)s")
import numpy as np
from caffe_compat.kernels import pooling
x, y = np.zeros((1, 2, 2, 16), np.float32), np.zeros((1, 1, 1, 16), np.float32)
x[0, 1, 0] = range(16)
pooling.maxima(64, x, y, 1, 2, 2, 16, 1, 1, 2, 2, 2, 2, 0, 0, 16, -1.0)
assert y.ravel().tolist() == [*range(16)]
"""


def _pool_in_a_process(home, folder, **environment):
    """What it logs."""
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    away = {**kept, "PYTHONPATH": str(folder), "HOME": str(home), "XDG_CACHE_HOME": str(home), **environment}
    command = [sys.executable, "-c", _POOLS]
    done = subprocess.run(command, env=away, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stderr


def _copy_of_loops(folder):
    loops = Path(under_test.__file__).parent
    shutil.copytree(loops, folder / "caffe_compat" / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "caffe_compat" / "__init__.py").touch()
    return folder / "caffe_compat" / "kernels"


def test_loops_run_where_no_machine_code_can_be_kept_and_say_what_to_do(tmp_path):
    (_copy_of_loops(tmp_path) / "__pycache__").touch()  # no folder, as the home is none
    (tmp_path / "home").touch()
    assert "NUMBA_CACHE_DIR names a folder for it" in _pool_in_a_process(tmp_path / "home", tmp_path)


@pytest.mark.parametrize("kind", ["nbc", pytest.param("nbi", marks=pytest.mark.slow)])
def test_damaged_machine_code_is_made_anew_and_told(kind, tmp_path):
    _copy_of_loops(tmp_path)
    cache = tmp_path / "cache"
    environment = {"NUMBA_CACHE_DIR": str(cache)}
    assert _pool_in_a_process(tmp_path, tmp_path, **environment) == ""
    (path,) = cache.glob(f"*/*maxima*.{kind}")
    path.write_bytes(path.read_bytes()[:20])
    assert "cannot be kept" in _pool_in_a_process(tmp_path, tmp_path, **environment)
    assert _pool_in_a_process(tmp_path, tmp_path, **environment) == ""


def test_machine_code_is_kept_apart_for_modules_that_say_something_else(tmp_path):
    folder, cache = _copy_of_loops(tmp_path), tmp_path / "cache"
    _pool_in_a_process(tmp_path, tmp_path, NUMBA_CACHE_DIR=str(cache))
    vectors = folder / "vectors.py"  # maxima has parts of it, and is in another module
    vectors.write_text(
        vectors.read_text().replace('fcmp_ordered(">", *args), *args', 'fcmp_ordered("<", *args), *args')
    )
    with pytest.raises(AssertionError, match="line 9, in <module>"):
        _pool_in_a_process(tmp_path, tmp_path, NUMBA_CACHE_DIR=str(cache))
    assert len([*cache.glob("*/*maxima*.nbi")]) == 2


@pytest.mark.skipif(under_test.team() is None, reason="torch has another OpenMP here")
def test_a_loop_that_runs_before_torch_is_loaded_keeps_no_later_one_from_its_threads(monkeypatch):
    under_test._team_of.cache_clear()
    monkeypatch.setitem(sys.modules, "torch", None)
    _scaled(1, np.ones(1, np.float32), 1, 2.0, np.zeros(4, np.int64), threads=1)
    assert under_test.team() is None
    monkeypatch.undo()
    assert under_test.team() is not None


def test_machine_code_of_other_modules_is_removed(tmp_path):
    (tmp_path / "__pycache__").mkdir()
    for name in ("a-old-1.nbi", "a-old-1.1.nbc", "a-new-1.nbi", "a-new-1.1.nbc", "a.pyc"):
        (tmp_path / "__pycache__" / name).touch()
    under_test._forget_stale(tmp_path, "new")
    left = {path.name for path in (tmp_path / "__pycache__").iterdir()}
    assert left == {"a-new-1.nbi", "a-new-1.1.nbc", "a.pyc"}


def test_a_package_whose_modules_are_no_files_has_a_stamp_too(tmp_path):
    assert under_test._stamp(tmp_path / "archive.zip") == under_test._stamp(tmp_path) != ""
