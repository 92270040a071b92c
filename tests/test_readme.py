"""README: its code runs, its first screen is short, its commands are those that are checked."""

import configparser
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import caffe_compat as cc
from tests.commands.conftest import Problem
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
PYTHON = [code for language, code in BLOCKS if language == "python"]
SHELL = [code.strip() for language, code in BLOCKS if language == "sh"]


@pytest.fixture
def lenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that README's code names, small: a net of two classes under LeNet's names, its weights, its solver."""
    monkeypatch.chdir(tmp_path)
    problem = Problem(tmp_path)
    text = (problem.folder / "net.prototxt").read_text().replace('"ip1"', '"ip2"')
    problem.write("lenet_train_test.prototxt", text)
    solver = (problem.folder / "solver.prototxt").read_text().replace("net.prototxt", "lenet_train_test.prototxt")
    problem.write("lenet_solver.prototxt", solver)
    net = cc.Net(cc.read_model("lenet_train_test.prototxt"))
    cc.write_model(net.model(), "written.prototxt", "lenet.caffemodel")
    return problem.folder


def test_the_code_runs(lenet, capsys):
    names = {"images": np.zeros((3, 1, 8, 8), np.float32)}
    for code in PYTHON:
        exec(code, names)
    assert names["scores"].shape == (3, 2)
    assert {"conv1", "conv2", "total"} <= {line.split()[0] for line in capsys.readouterr().out.splitlines() if line}
    assert cc.Net(cc.read_model("small.prototxt", "small.caffemodel")).params.keys() > {"conv2_lowrank"}


def test_the_first_code_is_on_the_first_screen_and_short():
    before = README.split("```python")[0]
    lines = [line for line in PYTHON[0].splitlines() if line]
    assert before.count("\n") < 10 and len(lines) <= 15
    assert README.count("\n") <= 200


def test_its_links_lead_to_pages_that_are_here():
    links = re.findall(r"\]\(([^)#]+)", README)
    assert len(links) > 10 and all((ROOT / link).exists() for link in links)


def test_the_design_names_every_package_from_the_bottom_to_the_top():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    contract = config["importlinter:contract:layers"]["layers"].split("\n")
    upwards = [name.strip() for line in reversed(contract) for name in line.split("|") if name.strip()]
    packages = {path.parent.name for path in (ROOT / "caffe_compat").glob("*/__init__.py")}
    block = (ROOT / "docs" / "design.md").read_text(encoding="utf-8").split("Each line imports")[0]
    rows = re.findall(r"^    (\w[\w, ]*?)  ", block, re.MULTILINE)
    named = [name for row in rows for name in row.split(", ")]
    assert packages <= set(upwards) and packages <= set(named)
    assert [name for name in upwards if name in named and name in packages] == [n for n in named if n in packages]


def test_two_commands_run_the_quickstart_and_the_tests():
    assert len(SHELL) == 2
    setups = {command.rsplit(" && ", 1)[0] for command in SHELL}
    assert len(setups) == 1 and "pip install -r requirements.txt -e ." in setups.pop()
    job, test = (shlex.split(command.rsplit(" && ", 1)[1])[1:] for command in SHELL)
    assert job == ["-m", "reproductions.quickstart"] and test == ["-m", "pytest"]


def test_ci_runs_what_the_readme_tests_with():
    script = (ROOT / ".ci" / "run").read_text()
    assert "pip install" in script and "-r requirements.txt -e ." in script and "-m pytest\n" in script


def test_requirements_are_pinned_and_within_what_setup_allows():
    pinned = dict(
        line.split("==") for line in (ROOT / "requirements.txt").read_text().splitlines() if line and line[0] != "#"
    )
    setup = (ROOT / "setup.cfg").read_text()
    wanted = re.findall(r"^    ([\w-]+)>=([\d.]+)", setup.split("[options.entry_points]")[0], re.MULTILINE)
    wanted += re.findall(r"^    ([\w-]+)>=([\d.]+)", setup.split("[options.extras_require]")[1], re.MULTILINE)
    for name, least in wanted:
        if name not in ("onnx", "onnxruntime", "MNN", "openvino"):  # installed by those who export, or run there
            assert tuple(map(int, pinned[name].split(".")[:2])) >= tuple(map(int, least.split(".")[:2])), name
