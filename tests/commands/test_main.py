"""`caffe-compat` itself: the help, the version, unknown verbs, one line for bad input."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import caffe_compat
from caffe_compat.commands import VERBS, main, one_line


def test_no_verb_prints_the_help_with_every_verb(capsys):
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n  {verb}" in printed for verb in VERBS)


def test_version_is_the_package_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"caffe-compat {caffe_compat.__version__}\n"


def test_unknown_verb_is_refused_in_one_line_with_the_nearest(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["slove"])
    assert stopped.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith("caffe-compat: no verb 'slove'; did you mean 'solve'?")
    assert printed.count("\n") == 1


def test_help_is_a_word_too(capsys):
    assert main(["help"]) == 0
    told = capsys.readouterr().out
    assert main([]) == 0 and capsys.readouterr().out == told
    with pytest.raises(SystemExit) as stopped:
        main(["help", "show"])
    assert stopped.value.code == 0 and "usage: caffe-compat show" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main(["help", "shwo"])
    assert stopped.value.code == 2 and "did you mean 'show'?" in capsys.readouterr().err


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_refuses_unknown_options_in_one_line(verb, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([verb, "--help"])
    assert stopped.value.code == 0
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main([verb, "--no-such-option=1"])
    assert stopped.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith("caffe-compat: ") and printed.count("\n") == 1


def test_solve_is_a_module_of_its_own():
    command = [sys.executable, "-m", "caffe_compat.solve", "absent.prototxt"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("caffe-compat: ") and "absent.prototxt" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "module", "verb"),
    [
        (["-m", "caffe_compat.decompose"], "decompose", "decompose"),  # a package
        (["-m", "caffe_compat.show", "net.prototxt"], "show", "show"),  # nothing
        (["-um", "caffe_compat.train"], "train", "train"),
        (["-mcaffe_compat.commands.check"], "commands.check", "check"),  # a module that runs nothing
    ],
)
def test_other_verbs_are_no_modules_and_say_how_they_are_called(words, module, verb):
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    told = f"caffe-compat: caffe_compat.{module} is no program; give python -m caffe_compat {verb} ...\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", told)


def test_help_imports_no_torch():
    program = "import sys, caffe_compat.commands as c; c.main([]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0


def test_broken_pipe_is_quiet():
    program = "import sys, caffe_compat.commands as c; sys.exit(c.main([]))"
    done = subprocess.run(
        ["bash", "-c", f'{sys.executable} -c "{program}" | true'], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


def test_an_os_error_is_its_path_and_its_reason():
    assert one_line(FileNotFoundError(2, "No such file or directory", "x.prototxt")) == (
        "x.prototxt: No such file or directory"
    )


def test_a_message_of_several_lines_becomes_one():
    assert one_line(ValueError("first\n  second")) == "first second"


def test_every_public_name_is_where_the_package_says():
    for name in caffe_compat.__all__:
        assert getattr(caffe_compat, name) is not None
    for name, home in caffe_compat._HOMES.items():
        assert getattr(importlib.import_module(f"caffe_compat.{home}"), name) is getattr(caffe_compat, name)


def test_type_checkers_are_told_the_same_names_from_the_same_homes():
    tree = ast.parse(Path(caffe_compat.__file__).read_text(encoding="utf-8"))
    told = {
        alias.name: statement.module.removeprefix("caffe_compat.")
        for block in tree.body
        if isinstance(block, ast.If)
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert told == caffe_compat._HOMES


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Nets'"):
        _ = caffe_compat.Nets
