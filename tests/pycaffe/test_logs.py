"""What scripts see on stderr: Caffe's lines in glog's form, and who can have fewer of them."""

import logging
import re
import shutil
from pathlib import Path

import pytest

import caffe_compat.pycaffe as caffe
from caffe_compat.pycaffe import logs
from tests.conftest import golden
from tests.pycaffe.nets import DATA, inner, layer, net, wave

GLOG = re.compile(r"([IWEF])\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ [\w.]+:\d+\] (.*)")
LOSS = layer("loss", "EuclideanLoss", "ip target", "loss")
FILLED = inner("ip", "data", "ip", 2) + layer(
    "target", "DummyData", "", "target", "dummy_data_param { shape { dim: 2 dim: 2 } }"
)


def _lines(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    """(letter, message) of every line on stderr; all are in glog's form."""
    written = capsys.readouterr().err.splitlines()
    found = [GLOG.fullmatch(line) for line in written]
    assert all(found), written
    return [(each[1], each[2]) for each in found if each]


def _solver(**fields: object) -> caffe.SGDSolver:
    Path("net.prototxt").write_text(DATA + FILLED + LOSS)
    values = {"base_lr": 0.1, "display": 2, "snapshot_after_train": "false", **fields}
    Path("solver.prototxt").write_text(
        'net: "net.prototxt" lr_policy: "fixed"\n' + "".join(f"{name}: {value}\n" for name, value in values.items())
    )
    return caffe.SGDSolver("solver.prototxt")


def test_a_solver_says_what_caffe_says(capsys):
    solver = _solver()
    solver.net.blobs["data"].data[...] = wave(2, 3)
    capsys.readouterr()
    solver.step(3)
    assert _lines(capsys) == [
        ("I", "Iteration 0, loss = 0"),
        ("I", "    Train net output #0: loss = 0 (* 1 = 0 loss)"),
        ("I", "Iteration 0, lr = 0.1"),
        ("I", "Iteration 2, loss = 0"),
        ("I", "    Train net output #0: loss = 0 (* 1 = 0 loss)"),
        ("I", "Iteration 2, lr = 0.1"),
    ]


def test_every_line_of_debug_info_is_caffes(capsys):
    """golden/debug_info, from the paper's fork: a test, iter_size, Splits, BatchNorm, propagate_down, and the force."""
    shutil.copytree(golden("debug_info"), ".", dirs_exist_ok=True)
    wanted = Path("caffe.txt").read_text().splitlines()
    solver = caffe.get_solver("solver.prototxt")
    solver.net.copy_from("init.caffemodel")
    capsys.readouterr()
    solver.solve()
    form = re.compile(r"Iteration|    \[|    T|Test loss|Gradient")
    found = [(letter, line) for letter, line in _lines(capsys) if form.match(line)]
    assert {letter for letter, line in found if "All net params" in line} == {"E"}  # LOG(ERROR) in net.cpp
    values = re.compile(r"(?<=[ (])-?\d[-\d.e+]*")
    assert [values.sub("#", line) for _, line in found] == [values.sub("#", line) for line in wanted]
    for (_, mine), theirs in zip(found, wanted, strict=True):
        sides = [[float(number) for number in values.findall(line)] for line in (mine, theirs)]
        assert sides[0] == pytest.approx(sides[1], rel=2e-5, abs=1e-7), mine  # six digits; sums of 600 losses


def test_a_net_with_debug_info_explains_its_passes_and_backward_tells_no_norms(capsys):
    built = net("debug_info: true\n" + DATA + inner("ip", "data", "ip", 2) + layer("relu", "ReLU", "ip", "ip"))
    capsys.readouterr()
    built.forward(data=wave(2, 3), end="ip")
    size = abs(wave(2, 3)).mean()
    messages = [message for _, message in _lines(capsys)]
    assert messages[0] == f"    [Forward] Layer data, top blob data data: {size:g}"
    assert [message.split(" data: ")[0] for message in messages[1:]] == [
        "    [Forward] Layer ip, top blob ip",
        "    [Forward] Layer ip, param blob 0",
        "    [Forward] Layer ip, param blob 1",
    ]
    built.forward()
    built.blobs["ip"].diff[...] = 1
    capsys.readouterr()
    built.backward()
    assert [message.split(" diff: ")[0] for _, message in _lines(capsys)] == [
        "    [Backward] Layer relu, bottom blob ip",
        "    [Backward] Layer ip, bottom blob data",
        "    [Backward] Layer ip, param blob 0",
        "    [Backward] Layer ip, param blob 1",
    ]


def test_nets_and_other_ranks_say_nothing(capsys):
    solver = _solver()
    capsys.readouterr()
    solver.net.forward()
    solver.net.backward()
    caffe.set_solver_rank(1)
    try:
        solver.step(1)
    finally:
        caffe.set_solver_rank(0)
    assert _lines(capsys) == []


def test_levels_are_glogs(capsys, monkeypatch):
    caffe.log("a word")
    assert _lines(capsys) == [("I", "a word")]
    monkeypatch.setattr(logs._handler, "level", logs._python_level("2"))  # as GLOG_minloglevel=2 before the import
    caffe.log("a word")
    assert _lines(capsys) == []
    assert [logs._python_level(each) for each in ("0", 1, "3", "much")] == [20, 30, 50, 20]


def test_a_level_that_the_script_chose_for_the_package_stays(capsys):
    package = logging.getLogger("caffe_compat")
    package.setLevel(logging.WARNING)
    try:
        _solver().step(1)
        assert package.level == logging.WARNING
        assert _lines(capsys) == []
    finally:
        package.setLevel(logging.NOTSET)
    _solver().step(1)
    assert package.level == logging.NOTSET
