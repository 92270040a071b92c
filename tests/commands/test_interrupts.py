"""SIGTERM and Ctrl-C in the middle of a verb's work: nothing half written stays, and the status is the signal's."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from tests.conftest import golden

WRITING = (
    "convert net.caffemodel net.caffemodel.h5",
    "upgrade net.prototxt new.prototxt",
    "deploy net.prototxt --weights net.caffemodel --out d.prototxt --out-weights d.caffemodel",
    "decompose net.prototxt net.caffemodel --ranks conv2=2 --out small",
    "compare net.prototxt --weights net.caffemodel --dump blobs.npz",
    "data mean raw_lmdb mean.binaryproto",
)
SIGNALS = [(signal.SIGTERM, 143), (signal.SIGINT, 130)]


@pytest.fixture
def trained(problem):
    cc.write_net("net.caffemodel", cc.read_net("net.prototxt"), cc.Net(cc.read_net("net.prototxt")).weights())
    Path("raw_lmdb").symlink_to(golden("formats", "db", "raw_lmdb"))
    return problem.folder


@pytest.mark.parametrize(("number", "status"), SIGNALS)
@pytest.mark.parametrize("words", WRITING)
def test_a_signal_while_a_file_is_written_leaves_nothing_of_it(trained, monkeypatch, words, number, status):
    before = sorted(os.listdir())
    monkeypatch.setattr(os, "fsync", lambda handle: signal.raise_signal(number))
    assert main(words.split()) == status
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_database_that_is_to_be_replaced_comes_back(trained, monkeypatch, number, status):
    assert main(["data", "pad", "raw_lmdb", "padded", "--pad", "1"]) == 0
    kept = sorted(os.listdir()), Path("padded/data.mdb").read_bytes()
    monkeypatch.setattr(cc, "pad_database", lambda *_, **__: signal.raise_signal(number))
    assert main(["data", "pad", "raw_lmdb", "padded", "--pad", "2", "--force-overwrite"]) == status
    assert (sorted(os.listdir()), Path("padded/data.mdb").read_bytes()) == kept


def test_signals_have_their_own_handlers_again_behind_a_command(trained):
    before = [signal.getsignal(number) for number, _ in SIGNALS]
    assert main(["show", "net.prototxt"]) == 0
    assert [signal.getsignal(number) for number, _ in SIGNALS] == before


def test_a_process_that_ignores_sigterm_goes_on_ignoring_it(trained, monkeypatch):
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        monkeypatch.setattr(cc, "is_binary", lambda path: signal.raise_signal(signal.SIGTERM))
        assert main(["show", "net.prototxt"]) == 0
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_script_of_pycaffe_finds_sigterm_as_every_script_does(tmp_path):
    (tmp_path / "s.py").write_text("import signal\nprint(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)\n")
    words = [sys.executable, "-m", "caffe_compat", "python", "s.py"]
    environment = {**os.environ, "PYTHONPATH": str(Path(cc.__file__).parents[1])}
    run = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == "True\n"


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_recipe_whose_solver_was_stopped_has_the_status_of_the_signal(trained, monkeypatch, number, status):
    def train(solver, steps):
        signal.raise_signal(number)
        return solver_step(solver, steps)

    solver_step = cc.Solver.step
    monkeypatch.setattr(cc.Solver, "step", train)
    words = ["prune", "solver.prototxt", "--weights", "net.caffemodel", "--keep", "0.9", "--max-iter", "4"]
    assert main(words) == status
    assert len(list(Path().glob("*_iter_*.solverstate"))) == 1


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_signal_while_words_are_read_ends_the_command_without_a_word(problem, monkeypatch, capsys, number, status):
    """argparse restores what it had changed, and finds that it has not kept it yet."""
    monkeypatch.setattr(argparse.ArgumentParser, "format_usage", lambda parser: signal.raise_signal(number))
    assert main(["show", "net.prototxt"]) == status
    assert capsys.readouterr().err == ""
