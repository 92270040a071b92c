"""The three worked examples of docs/extending.md - a layer, a regularizer, a verb - as they are written."""

import subprocess
import sys

import pytest
import torch

import caffe_compat as cc
from caffe_compat.commands import main
from reproductions import transcripts
from tests.commands.conftest import problem  # noqa: F401 - a fixture
from tests.conftest import ROOT
from tests.plugins import forget

BLOCKS = transcripts.blocks((ROOT / "docs" / "extending.md").read_text(encoding="utf-8"))


@pytest.fixture
def folder(problem, monkeypatch):  # noqa: F811
    """A folder with a small problem and the files that the page tells to write."""
    monkeypatch.setattr(sys, "path", [str(problem.folder), *sys.path])
    for block in BLOCKS:
        if block.title:
            problem.write(block.title, block.text)
    yield problem
    for name in ("stretch", "cubic", "census"):
        forget(name)


def test_the_layer_has_the_values_and_gradients_that_the_page_says(folder, capsys):
    (code,) = [block.text for block in BLOCKS if block.language == "python" and not block.title]
    exec(compile(code, "extending.md", "exec"), {})
    assert main(["show", "stretched.prototxt", "--plugin", "stretch"]) == 0
    assert "Stretch" in capsys.readouterr().out


def test_the_regularizer_pulls_at_the_cube_of_each_weight(folder):
    cc.use_plugin("cubic")
    folder.edit("solver.prototxt", "weight_decay: 0.001", 'weight_decay: 0.5 regularization_type: "Cubic"')
    folder.edit("solver.prototxt", "momentum: 0.9", "momentum: 0")
    folder.edit("solver.prototxt", 'lr_policy: "step"', 'lr_policy: "fixed"')
    solver = cc.Solver("solver.prototxt")
    before = [each.detach().clone() for each in solver.net.params["conv2"]]
    plain = (folder.folder / "solver.prototxt").read_text().replace("weight_decay: 0.5", "weight_decay: 0")
    folder.write("plain.prototxt", plain)
    other = cc.Solver("plain.prototxt")  # of the same random_seed
    solver.step(1)
    other.step(1)
    for start, mine, theirs in zip(before, solver.net.params["conv2"], other.net.params["conv2"], strict=True):
        torch.testing.assert_close(theirs - mine, 0.05 * 0.5 * start**3, atol=1e-7, rtol=1e-4)


def test_the_verb_counts_and_refuses_in_a_line(folder, capsys):
    assert main(["--plugin", "census", "census", "net.prototxt"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "2 Convolution"
    assert main(["--plugin", "census", "census", "missing.prototxt"]) == 2
    assert capsys.readouterr().err == "caffe-compat: missing.prototxt: cannot be read: No such file or directory\n"


@pytest.mark.slow
def test_a_reader_who_types_the_page_sees_it():
    for page, written, now in transcripts.run_pages(("extending.md",)):
        assert transcripts.masked(now) == transcripts.masked(written), page


@pytest.mark.slow
def test_each_example_stands_in_a_new_process(folder):
    for words in (
        ["show", "stretched.prototxt", "--plugin", "stretch"],
        ["--plugin", "census", "census", "net.prototxt"],
    ):
        command = [sys.executable, "-m", "caffe_compat", *words]
        assert subprocess.run(command, cwd=folder.folder, timeout=120).returncode == 0
