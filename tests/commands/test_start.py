"""How a command starts: help without heavy imports, and Ctrl-C at any moment without a traceback."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import caffe_compat as cc
from caffe_compat import commands
from caffe_compat.commands import options
from caffe_compat.net.backends import BACKENDS

HEAVY = ("torch", "numpy", "scipy", "h5py", "google.protobuf", "tqdm", "matplotlib", "onnx")


def test_no_help_imports_torch_or_numpy():
    program = f"""
import contextlib, io, sys
from caffe_compat.commands import VERBS, main
from caffe_compat.commands.data import TOOLS
for words in [[], *([verb] for verb in VERBS), *(["data", tool] for tool in TOOLS)]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main([*words, "--help"])
    found = [name for name in {HEAVY} if name in sys.modules]
    if found:
        sys.exit(f"{{words}} --help imports {{found}}")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_methods_told_in_help_are_those_there_are():
    assert tuple(cc.METHODS) == options.METHODS
    assert cc.CRITERIA == options.CRITERIA
    assert BACKENDS == options.BACKENDS


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.3, 0.8])
@pytest.mark.parametrize("verb", ["show net.prototxt", "solve solver.prototxt", "log run.log"])
def test_ctrl_c_leaves_no_traceback_even_while_modules_are_imported(problem, verb, seconds):
    problem.edit("solver.prototxt", "max_iter: 20", "max_iter: 1000000")
    command = f"""
import os, signal, sys, threading, time
from caffe_compat.__main__ import main
def send():
    while signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        time.sleep(0.0005)
    time.sleep({seconds})
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
threading.Thread(target=send, daemon=True).start()
sys.exit(main({verb.split()}))
"""
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, cwd=problem.folder)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert done.returncode in (0, 130, -signal.SIGINT) or "no such log" in done.stderr


INTERRUPTING = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["INTERRUPT_AT"]:
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(1000):  # the signal is taken between two steps of Python
                pass

sys.meta_path.insert(0, Finder())
"""
ENTRY = "import sys\nfrom caffe_compat.__main__ import main\nsys.exit(main())\n"  # what pip makes of the entry point


@pytest.mark.parametrize("door", ["entry", "-m", "-m of a module"])
@pytest.mark.parametrize(
    "name", ["caffe_compat.decompose", "caffe_compat.__main__", "caffe_compat.commands.numbers", "torch"]
)
def test_ctrl_c_ends_a_command_without_a_word_from_the_first_lines_of_the_package_on(problem, door, name):
    problem.write("sitecustomize.py", INTERRUPTING)
    script = problem.write("caffe-compat", ENTRY)
    verb = ["show", "net.prototxt", "--code"]  # which needs torch
    words = {"entry": [str(script), *verb], "-m": ["-m", "caffe_compat", *verb]}
    program = words.get(door, ["-m", "caffe_compat.solve", "solver.prototxt"])
    places = os.pathsep.join([str(problem.folder), str(Path(cc.__file__).parent.parent)])
    done = subprocess.run(
        [sys.executable, *program], env={**os.environ, "PYTHONPATH": places, "INTERRUPT_AT": name},
        cwd=problem.folder, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode in (-signal.SIGINT, 130)  # a shell reports both as 130
    assert (done.stdout, done.stderr) == ("", "")


def test_ctrl_c_at_any_moment_shows_no_line_of_the_package(problem):
    """Before its first lines the process is Python's own, which shows a traceback of its own files.

    "Line 0" of a module is where Python enters it, before any of its lines.
    """
    command = [sys.executable, "-m", "caffe_compat", "show", "net.prototxt"]
    for step in range(8):
        process = subprocess.Popen(
            command, cwd=problem.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        time.sleep(step * 0.02)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=120)
        shown = re.sub(r'File "[^"]*", line 0, in <module>\n', "", error)
        assert f"caffe_compat{os.sep}" not in shown or "import caffe_compat.early" in shown
        assert process.returncode in (0, 130, -signal.SIGINT) or "<frozen" in error


def test_a_library_leaves_ctrl_c_as_it_is():
    program = "import signal, caffe_compat; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    for words in (
        ["-c", program],
        ["-m", "timeit", "-n1", "-r1", program],
    ):
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=120)
        assert done.stdout.splitlines()[0] == "True", done


def test_a_process_that_ignores_ctrl_c_goes_on_ignoring_it(problem):
    program = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
from caffe_compat.__main__ import main
sys.argv[1:] = ["log", "--help"]
os.kill(os.getpid(), signal.SIGINT)
main()
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyError("conv1"), "KeyError: 'conv1'; this is a fault of caffe_compat"),
        (RuntimeError("not enough memory: you tried to allocate 1 bytes\nException"), "use a smaller batch"),
        (MemoryError(), "MemoryError: MemoryError; use a smaller batch"),
    ],
)
def test_an_unforeseen_error_is_one_line_and_its_traceback_is_there_for_who_asks(monkeypatch, capsys, error, told):
    def fail(words):
        raise error

    monkeypatch.setattr(commands, "_dispatch", fail)
    with pytest.raises(type(error)):
        commands.main(["show"])
    monkeypatch.delenv(commands.TRACEBACK)
    assert commands.main(["show"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("caffe-compat: ") and told in line
