"""No verb lets a name from a file drive the terminal, in tables, logs, JSON or errors."""

from __future__ import annotations

import json
import sys

import pytest

from caffe_compat.commands import NO_PYTHON, main
from caffe_compat.commands.streams import SafeStream, safe_streams
from caffe_compat.layers import python_modules

EVIL = "\x1b]0;title\x07\x1b[2J\u202e\x9b1m"
SPELLED = '"' + "".join(f"\\{byte:03o}" for byte in EVIL.encode()) + '"'


@pytest.fixture
def evil(problem):
    """The net of `problem` with names that a terminal would obey."""
    for name in ("conv1", "ip1", "Small"):
        problem.edit("net.prototxt", f'"{name}"', SPELLED.replace('"', f'"{name}', 1))
    return problem


@pytest.mark.parametrize(
    "words",
    [
        ["show", "net.prototxt"],
        ["check", "net.prototxt"],
        ["check", "net.prototxt", "--json"],
        ["deploy", "net.prototxt"],
        ["time", "net.prototxt", "--iterations", "1"],
        ["solve", "solver.prototxt", "--max-iter", "1"],
        ["solve", "solver.prototxt", "--force", "l1", "--force-layers", f"absent{EVIL}"],
        ["show", f"absent{EVIL}.prototxt"],
    ],
    ids=lambda words: " ".join(words).replace(EVIL, "EVIL"),
)
def test_names_reach_the_terminal_without_what_it_obeys(evil, capsys, words):
    main(words)
    printed = "".join(capsys.readouterr())
    assert printed and not set(printed) & set("\x1b\x07\x9b\u202e")


def test_a_report_in_json_has_the_names_as_they_are(evil, capsys):
    main(["check", "net.prototxt", "--json"])
    (report,) = json.loads(capsys.readouterr().out)
    assert f"conv1{EVIL}" in {layer["layer"] for layer in report["layers"]}


def test_a_net_that_is_printed_reads_back_with_its_names(evil, capsys):
    import caffe_compat as cc

    assert main(["deploy", "net.prototxt"]) == 0
    net = cc.parse_text(capsys.readouterr().out, cc.NetParameter)
    assert f"conv1{EVIL}" in {layer.name for layer in net.layer}


def test_a_progress_bar_may_go_back_to_the_start_of_its_line(capsys):
    stream = SafeStream(sys.stdout)
    stream.write("\r 3 of 4")
    stream.writelines(["a\rb\n", "c\n"])
    assert capsys.readouterr().out == "\r 3 of 4a\\rb\nc\n"
    assert not stream.isatty()


def test_what_packages_write_after_the_command_is_theirs(capsys):
    """colorama keeps the stream that it finds when Numba imports it, and resets colours there when the process ends."""
    with safe_streams():
        kept = sys.stdout
        kept.write("\x1b[0m")
    kept.write("\x1b[0m")
    assert capsys.readouterr().out == "\\u001b[0m\x1b[0m"


def test_no_python_is_the_same_word_everywhere():
    assert NO_PYTHON == python_modules.NO_PYTHON


PYTHON = 'layer { name: "py" type: "Python" bottom: "ip1" top: "py" python_param { module: "py_verb" layer: "L" } }'


def test_no_python_refuses_in_every_verb_and_nothing_is_imported(problem, capsys, caplog):
    net = (problem.folder / "net.prototxt").read_text()
    problem.write("net.prototxt", net + PYTHON)
    problem.write("py_verb.py", "import caffe\nopen('RAN', 'w').close()\nclass L(caffe.Layer): pass\n")
    for words in (["show", "net.prototxt"], ["solve", "solver.prototxt"], ["time", "net.prototxt"]):
        assert main([*words, "--no-python"]) == 2
        assert "layer 'py': its Python module 'py_verb' is not imported" in capsys.readouterr().err
    main(["check", "net.prototxt"])
    assert not (problem.folder / "RAN").exists()
    main(["show", "net.prototxt"])
    assert (problem.folder / "RAN").exists()
    assert "running Python code that the net names: class L of py_verb.py" in caplog.text
