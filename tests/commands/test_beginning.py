"""Verbs that only read nets begin without torch, and anew with it where it is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import caffe_compat as cc
from caffe_compat.commands import beginning

LAYERS = Path(__file__).parent.parent / "golden" / "layers"
NET = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 4 } }
"""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """A process of `caffe-compat`, with the modules that it imports on stderr."""
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "caffe_compat", *words], capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip


def imports_torch(process: subprocess.CompletedProcess[str]) -> bool:
    return "torch._C" in process.stderr


def said(process: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in process.stderr.splitlines() if not line.startswith("import time:")]


def test_a_net_is_shown_without_torch_as_with_it(tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(NET)
    found = run("show", str(net))
    assert (found.returncode, said(found), imports_torch(found)) == (0, [], False)
    assert found.stdout == f"{cc.Net(cc.read_model(net))}\n"


def test_a_net_with_code_of_the_users_begins_anew_and_runs_it_once() -> None:
    found = run("show", str(LAYERS / "python_layer.prototxt"))
    assert found.returncode == 0 and imports_torch(found)
    assert sum("running Python code" in line for line in said(found)) == 1
    assert found.stdout.count("total") == 1


def test_errors_are_one_line_without_torch_too(tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(NET.replace("InnerProduct", "InnerProdukt"))
    found = run("show", str(net))
    assert (found.returncode, found.stdout, imports_torch(found)) == (2, "", False)
    assert len(said(found)) == 1 and "did you mean 'InnerProduct'" in said(found)[0]


def test_a_process_that_is_not_the_program_is_never_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not beginning.can_do_without()  # for pytest runs here
    monkeypatch.setattr(beginning, "IS_PROGRAM", True)
    assert not beginning.can_do_without()  # for torch is here
