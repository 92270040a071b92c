"""When compiled loops are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from caffe_compat.kernels import _loaded, loops


@pytest.fixture(autouse=True)
def nothing_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAFFE_COMPAT_KERNELS", raising=False)


def test_loops_are_not_used_where_they_are_switched_off(monkeypatch):
    monkeypatch.setenv("CAFFE_COMPAT_KERNELS", "off")
    assert loops("pooling") is None


def test_loops_are_not_used_without_numba(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    _loaded.cache_clear()
    try:
        assert loops("pooling") is None
    finally:
        _loaded.cache_clear()


def test_a_numba_that_refuses_to_load_is_told_and_not_used(monkeypatch, tmp_path, caplog):
    monkeypatch.delenv("CAFFE_COMPAT_KERNELS", raising=False)
    (tmp_path / "numba.py").write_text('raise ImportError("Numba needs NumPy 2.2 or less")\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [each for each in sys.modules if each == "numba" or each.startswith("numba.")]:
        monkeypatch.delitem(sys.modules, name)
    _loaded.cache_clear()
    try:
        with caplog.at_level("INFO"):
            assert loops("pooling") is None
    finally:
        _loaded.cache_clear()
    assert "Numba needs NumPy 2.2 or less" in caplog.text


def test_the_package_loads_neither_numba_nor_torch():
    code = "import sys, caffe_compat.kernels; print('numba' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_loops_are_used_where_numba_is(monkeypatch):
    monkeypatch.delenv("CAFFE_COMPAT_KERNELS", raising=False)
    pytest.importorskip("numba", reason="the package numba is not installed")
    assert loops("pooling") is not None


def test_loops_are_not_used_where_numba_compiles_nothing(monkeypatch):
    numba = pytest.importorskip("numba", reason="the package numba is not installed")
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    _loaded.cache_clear()
    try:
        assert loops("pooling") is None
    finally:
        _loaded.cache_clear()
