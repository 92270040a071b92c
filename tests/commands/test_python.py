"""`caffe-compat python`: scripts run as by Python, with a caffe in them."""

import subprocess
import sys
from pathlib import Path

import pytest

import caffe_compat.pycaffe.door as door
from caffe_compat import CaffeCompatError, install_caffe, uninstall_caffe
from caffe_compat.commands import main

SCRIPT = """
import sys
import caffe, caffe.coord_map, caffe.proto.caffe_pb2
from caffe import layers as L, params as P
from caffe.net_spec import Top
assert Top is caffe.net_spec.Top and caffe.io is sys.modules["caffe.io"]
print(caffe.__name__, sys.argv, __name__)
if "--boom" in sys.argv:
    raise ValueError("of the script")
sys.exit(7)
"""


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True)


def test_a_script_gets_its_arguments_as_they_are_and_its_exit_status_counts(tmp_path):
    (tmp_path / "s.py").write_text(SCRIPT)
    found = _run(tmp_path, "-m", "caffe_compat", "python", "s.py", "-model", "x", "--install", "--", "-5e-5")
    words = "['s.py', '-model', 'x', '--install', '--', '-5e-5']"
    assert (found.returncode, found.stdout) == (7, f"caffe_compat.pycaffe {words} __main__\n"), found.stderr


def test_an_error_of_the_script_shows_its_own_traceback_alone(tmp_path):
    (tmp_path / "s.py").write_text(SCRIPT)
    found = _run(tmp_path, "-m", "caffe_compat.pycaffe", "s.py", "--boom")
    assert found.returncode == 1
    assert found.stderr.startswith("Traceback") and found.stderr.endswith("ValueError: of the script\n")
    assert "runpy" not in found.stderr and "door.py" not in found.stderr


@pytest.mark.parametrize("words", [["nothing.py"], [], ["--no-such"]])
def test_nothing_to_run_is_one_line(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        status = main(["python", *words])
    except SystemExit as error:
        status = error.code
    told = capsys.readouterr().err
    assert status == 2 and told.startswith("caffe-compat: ") and told.count("\n") == 1


def test_install_writes_one_path_line_and_uninstall_takes_it_back(tmp_path, monkeypatch):
    monkeypatch.setattr(door, "_path_file", lambda: tmp_path / "caffe.pth")
    monkeypatch.setattr(door, "_other_caffe", lambda: None)
    path = install_caffe()
    (line,) = path.read_text().splitlines()
    found = _run(tmp_path, "-c", f"import sys; sys.path.insert(0, {line!r}); import caffe.io; print(caffe.__name__)")
    assert found.stdout == "caffe_compat.pycaffe\n", found.stderr
    assert uninstall_caffe() == path and not path.exists()
    with pytest.raises(CaffeCompatError, match="not there"):
        uninstall_caffe()


def test_install_refuses_where_another_caffe_is(tmp_path):
    (tmp_path / "caffe").mkdir()
    (tmp_path / "caffe" / "__init__.py").write_text("")
    found = _run(tmp_path, "-c", "import caffe_compat; caffe_compat.install_caffe()")
    assert "there is a caffe in this environment" in found.stderr and found.returncode == 1


def test_beside_another_caffe_both_are_there(tmp_path):
    (tmp_path / "caffe").mkdir()
    (tmp_path / "caffe" / "__init__.py").write_text("whose = 'theirs'")
    (tmp_path / "caffe" / "io.py").write_text("whose = 'theirs'")
    lines = "import caffe_compat.pycaffe as ours, caffe, caffe.io; print(caffe.whose, caffe.io.whose, ours.io.__name__)"
    assert _run(tmp_path, "-c", lines).stdout == "theirs theirs caffe_compat.pycaffe.io\n"


def test_a_folder_that_does_not_run_is_no_script(tmp_path, capsys):
    assert main(["python", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"caffe-compat: {tmp_path}: is a folder without __main__.py; give a script of Python\n"
    )
    (tmp_path / "__main__.py").write_text("print('runs')\n")
    assert main(["python", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "runs\n"


def test_a_script_that_is_no_python_is_told_as_python_tells_it(tmp_path, capsys):
    script = tmp_path / "a.py"
    script.write_text("this is some text\n")
    assert main(["python", str(script)]) == 1
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first == f'  File "{script}", line 1' and last.startswith("SyntaxError: ")


def test_a_binary_file_is_no_script(tmp_path, capsys):
    script = tmp_path / "a.png"
    script.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0")
    assert main(["python", str(script)]) == 2
    assert capsys.readouterr().err == f"caffe-compat: {script}: this is an image; give a script of Python\n"
