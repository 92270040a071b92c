"""Long work is told of: by a bar on a terminal, by log lines elsewhere, and not at all where it is short."""

import io
import logging
import os
import re
import struct
import time
from contextlib import contextmanager, redirect_stderr

import pytest

import caffe_compat as cc
from caffe_compat import commands
from caffe_compat.commands import following, main
from caffe_compat.commands.terminal import glog_lines
from caffe_compat.progress import doing, in_steps, watched_by
from tests.test_progress import Recorder

GLOG = r"^I\d{4} [\d:.]+ +\d+ following\.py:\d+\] "


class Terminal(io.StringIO):
    """What a program that writes to a terminal sends there."""

    def isatty(self):
        return True

    @property
    def shown(self):
        """The line that is seen now."""
        line = ""
        for part in self.getvalue().rsplit("\n", 1)[-1].split("\r"):
            line = part + line[len(part) :]
        return line.rstrip()


@pytest.fixture
def at_once(monkeypatch):
    """Work of a hundredth of a second counts as long."""
    monkeypatch.setattr(following, "PATIENCE", 0.0)
    monkeypatch.setattr(following, "INTERVAL", 0.02)
    monkeypatch.setattr(following, "TICK", 0.01)


@contextmanager
def followed_on(terminal):
    """Work is followed, and stderr leads to `terminal`."""
    with redirect_stderr(terminal), following.followed():
        yield


def until(condition):
    """Work until the condition holds."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_line_says_now_and_then_what_long_work_is_at(at_once, capsys):
    printed = ""

    def seen(words):
        nonlocal printed
        printed += capsys.readouterr().err
        return words in printed

    with following.followed():
        for name in in_steps("factorizing", ["conv1", "conv2"]):
            until(lambda name=name: seen(f"] factorizing: {name}, "))
        with doing("OpenCV runs the net"), doing("loading it"):
            until(lambda: seen("] OpenCV runs the net; loading it\n"))
    lines = (printed + capsys.readouterr().err).splitlines()
    assert all(re.match(GLOG, line) for line in lines)
    assert any(line.endswith("factorizing: conv2, 2 of 2") for line in lines)


def test_short_work_says_nothing(capsys):
    with following.followed():
        for _ in in_steps("factorizing", ["conv1", "conv2"]):
            time.sleep(0.01)
    assert capsys.readouterr().err == ""


def test_what_comes_before_the_work_of_a_command_has_no_lines(at_once, capsys):
    with following.followed(), doing("loading", is_start=True):
        time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_a_bar_shows_the_steps_and_goes_when_they_are_done(at_once):
    terminal = Terminal()
    with followed_on(terminal):
        for name in in_steps("factorizing", ["conv1", "conv2", "conv3"]):
            until(lambda name=name: f"factorizing: {name}: " in terminal.shown)
        assert terminal.shown == ""
        with doing("running the net"):
            until(lambda: re.fullmatch(r"running the net \[00:\d\d\]", terminal.shown))
        assert terminal.shown == ""
    assert "| 1/3 [" in terminal.getvalue() and "\n" not in terminal.getvalue()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals here")
@pytest.mark.parametrize(("size", "kind"), [((24, 80), following.Bar), ((0, 0), following.Lines)])
def test_a_terminal_that_nobody_looks_at_gets_lines(size, kind, monkeypatch):
    """`docker run -t` without a console has a terminal of no size."""
    import fcntl
    import termios

    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    made = []
    monkeypatch.setattr(following, kind.__name__, lambda: made.append(kind) or kind())
    with os.fdopen(ours), open(theirs, "w") as stream, redirect_stderr(stream), following.followed():
        assert made == [kind]


def test_no_bar_for_work_of_less_than_a_second(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(following, "TICK", 0.01)
    with followed_on(terminal), doing("running the net"):
        time.sleep(0.1)
    assert terminal.getvalue() == ""


def test_log_lines_stay_above_the_bar(at_once):
    terminal = Terminal()
    with followed_on(terminal), glog_lines(), doing("running the net"):
        until(lambda: "running" in terminal.shown)
        logging.getLogger("caffe_compat.x").warning("a line")
        until(lambda: "running" in terminal.shown)
    first, _, _ = terminal.getvalue().rpartition("\n")
    assert first.rpartition("\r")[2].endswith("] a line") and terminal.shown == ""


def test_work_that_ends_in_an_error_leaves_no_bar(at_once):
    terminal = Terminal()
    with pytest.raises(KeyboardInterrupt), followed_on(terminal):
        for _ in in_steps("factorizing", ["conv1"]):
            until(lambda: "conv1" in terminal.shown)
            raise KeyboardInterrupt
    assert terminal.shown == ""


def test_names_cannot_drive_the_terminal_through_the_bar(at_once):
    terminal = Terminal()
    with followed_on(terminal):
        for _ in in_steps("factorizing", ["\x1b[2J\n" + 500 * "n"]):
            until(lambda: "factorizing" in terminal.shown)
    assert "\x1b" not in terminal.getvalue() and "\n" not in terminal.getvalue()


VERBS = {
    "decompose net.prototxt net.caffemodel --keep 0.9 --out small --certificate c": [
        "reading net.caffemodel",
        "choosing ranks",
        "factorizing",
        "comparing weights",
        "running both nets",
        "comparing blobs",
    ],
    "decompose net.prototxt net.caffemodel --budget latency=1 --out other": ["measuring"],
    "decompose net.prototxt net.caffemodel --budget parameters=0.9 --out fewer": ["weighing ranks", "factorizing"],
    "decompose net.prototxt net.caffemodel --ranks conv2=3 --fit nonlinear --out fitted": ["fitting"],
    "verify small.prototxt small.caffemodel --original net.prototxt --original-weights net.caffemodel": [
        "comparing weights",
        "running both nets",
        "comparing blobs",
        "running the net to compare OpenCV with",
        r"OpenCV [\d.]+ runs net.prototxt and net.caffemodel",
        "comparing OpenCV's blobs",
    ],
    "surgery deploy.prototxt net.caffemodel --fully-convolutional": [
        "running the net as it was",
        "running the net as it is now",
        "comparing blobs",
        "writing the model",
    ],
    "prune net.prototxt net.caffemodel --multiply-adds 0.8": ["searching the share that meets multiply_adds"],
    "export deploy.prototxt net.caffemodel --out net.onnx": [
        "writing ONNX",
        "onnxruntime loads the file",
        "onnxruntime runs the file",
        "running the net to compare with",
    ],
    "export deploy.prototxt net.caffemodel --out net.pt2": [
        "torch.export follows the net",
        "writing the program",
        "loading the program",
        "running the program",
    ],
    "export deploy.prototxt net.caffemodel --format torch": [
        "running the net",
        "writing every blob",
        "running model.py",
    ],
    "compare net.prototxt small.prototxt --weights net.caffemodel --other-weights small.caffemodel": [
        "running the first net",
        "running the second net",
        "comparing blobs",
    ],
    "time --compare net.prototxt small.prototxt --iterations 2": ["timing each layer", "timing nets in turns"],
}


def test_verbs_that_take_long_tell_what_they_are_at(problem, monkeypatch, capsys):
    net = cc.read_net("net.prototxt")
    cc.write_model(cc.Model(net, cc.Net(net).weights()), "net.prototxt", "net.caffemodel")
    assert main(["deploy", "net.prototxt", "--out", "deploy.prototxt"]) == 0
    for line, wanted in VERBS.items():
        recorder = Recorder()
        monkeypatch.setattr(commands, "followed", lambda recorder=recorder: watched_by(recorder))
        assert main(line.split()) in (0, 1), capsys.readouterr().err
        told = [work.what for work in recorder.begun]
        for words in wanted:
            assert any(re.fullmatch(words, each) for each in told), (line, words, told)
        assert len(recorder.ended) == len(recorder.begun)
