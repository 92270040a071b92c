"""What the tests of the drop-in share: a working folder of their own, the CPU, and a seed."""

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import caffe_compat.pycaffe as caffe


def needs(*packages: str) -> None:
    """Skip where one of the packages of the extra `pycaffe` is missing, or Graphviz's `dot`."""
    for package in packages:
        if package == "dot" and shutil.which("dot") is None:
            pytest.skip("drawing needs Graphviz's dot on the PATH")
        if package != "dot" and importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}, of the extra pycaffe")


@pytest.fixture(autouse=True)
def _working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    caffe.set_mode_cpu()
    caffe.set_solver_count(1)
