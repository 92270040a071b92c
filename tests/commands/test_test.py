"""`caffe-compat test` prints what `caffe test` prints, with real Caffe's numbers."""

import re
import shutil

import pytest

from caffe_compat.commands import main
from tests.conftest import golden

LOGS = golden("formats", "logs")


@pytest.fixture
def logs(tmp_path, monkeypatch):
    """A copy of the folder in which real Caffe trained, tested and timed a net."""
    folder = shutil.copytree(LOGS, tmp_path / "logs")
    monkeypatch.chdir(folder)
    return folder


def messages(text):
    return [line.split("] ", 1)[1] for line in text.splitlines() if "] " in line]


def last_test(log):
    """The outputs of the last test in a training log of Caffe: {name: value}."""
    rows = re.findall(r"Test net output #\d+: (\S+) = (\S+)", log[log.rindex("Testing net") :])
    return {name: float(value) for name, value in rows}


@pytest.mark.parametrize("spelling", [["--weights", "{w}", "net.prototxt"], ["-model=net.prototxt", "-weights={w}"]])
def test_scores_are_those_that_caffe_logged_for_these_weights(logs, capsys, spelling):
    words = [word.format(w="snap_iter_30.caffemodel") for word in spelling]
    assert main(["test", *words, "-iterations", "2"]) == 0
    printed = messages(capsys.readouterr().err)
    wanted = last_test((logs / "finetune.log").read_text())  # the last run to write that snapshot; test_iter is 2
    assert f"accuracy = {wanted['accuracy']:g}" in printed
    assert f"loss = {wanted['loss']:g} (* 1 = {wanted['loss']:g} loss)" in printed


def test_lines_have_the_form_of_caffes_own(logs, capsys):
    assert main(["test", "net.prototxt", "--weights", "snap_iter_30.caffemodel", "--iterations", "3"]) == 0
    number = re.compile(r"\d+\.\d+(e-\d+)?")

    def forms(lines):
        return [number.sub("N", re.sub(r"= 1$", "= N", line)) for line in lines]

    ours = messages(capsys.readouterr().err)
    caffes = messages((logs / "test.log").read_text())
    start = "Running for 3 iterations."
    assert forms(ours[ours.index(start) :]) == forms(caffes[caffes.index(start) :])
