"""What stands in for torch, in a process of its own: layers get the shapes that they get with torch, or ask for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from caffe_compat import without_torch
from caffe_compat.without_torch import Tensor, TorchNeeded
from tests.conftest import shared

GOLDEN = Path(__file__).parent / "golden"
ALONE = """
import contextlib, io, json, sys
from caffe_compat import without_torch
from caffe_compat.commands import main

found, light = [], sys.argv[1:] == ["light"]
with without_torch.standing_in() if light else contextlib.nullcontext():
    for words in json.load(sys.stdin):
        out, err = io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = main(words)
        except without_torch.TorchNeeded as error:
            status = f"torch is needed: {error}"
        found.append([status, out.getvalue(), err.getvalue()])
assert not (light and "torch._C" in sys.modules)
print(json.dumps(found))
"""


def results(commands: list[list[str]], *how: str) -> list[list[object]]:
    """Exit status, stdout and stderr of each command; "light": where something stands in for torch.

    In a process of its own either way, for pytest keeps log lines from stderr.
    """
    run = subprocess.run(
        [sys.executable, "-c", ALONE, *how], input=json.dumps(commands), capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr
    found: list[list[object]] = json.loads(run.stdout)
    return found


def differing(files: list[Path]) -> tuple[list[list[str]], list[list[str]]]:
    """The commands that print something else without torch, and those that ask for it."""
    commands = [[verb, str(file)] for file in files for verb in ("show", "check")]
    wrong, asking = [], []
    for words, light, whole in zip(commands, results(commands, "light"), results(commands), strict=True):
        if str(light[0]).startswith("torch is needed"):
            asking.append(words)
        elif light != whole:
            wrong.append(words)
    return wrong, asking


def test_every_golden_layer_is_shown_and_checked_alike_and_only_code_of_users_asks_for_torch() -> None:
    files = sorted((GOLDEN / "layers").glob("*.prototxt"))
    wrong, asking = differing([*files[::6], GOLDEN / "layers" / "python_layer.prototxt"])
    assert wrong == []
    assert asking == [["show", str(GOLDEN / "layers" / "python_layer.prototxt")]]


@pytest.mark.slow
def test_every_net_here_is_shown_and_checked_alike() -> None:
    wrong, asking = differing(sorted([*GOLDEN.rglob("*.prototxt"), *shared("cases").rglob("*.prototxt")]))
    assert wrong == []
    assert all("Python" in Path(file).read_text("utf-8", "replace") for _, file in asking)


def test_a_tensor_has_a_shape_and_no_values() -> None:
    tensor = Tensor((2, 3, 4))
    assert (tensor.numel(), tensor.dim(), tensor.view(6, 4).shape) == (24, 3, (6, 4))
    assert tensor.normal_(0, 1) is tensor
    for ask in (lambda: tensor.sum(), lambda: tensor.view(5, 5), lambda: tensor + 1):
        with pytest.raises((TorchNeeded, TypeError)):
            ask()


def test_it_comes_too_late_where_torch_is_imported() -> None:
    with pytest.raises(RuntimeError, match="too late"), without_torch.standing_in():
        pass
    without_torch.need_torch()  # nothing stands in here
