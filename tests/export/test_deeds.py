"""`check` says which layers would run code or write files, and does neither."""

from __future__ import annotations

from pathlib import Path

import pytest

import caffe_compat as cc

PYTHON = 'layer { name: "py" type: "Python" top: "x" python_param { module: "py_deed" layer: "L" } }'
OUTPUT = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "out" type: "HDF5Output" bottom: "x" bottom: "x" hdf5_output_param { file_name: "%s" } }
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def notes(text: str) -> list[tuple[str, str]]:
    found = cc.check(cc.Model(cc.parse_text(text, cc.NetParameter))).notes
    return [(note.kind, note.message) for note in found if note.kind in ("code", "writes")]


def test_code_that_would_run_is_a_note_with_its_file_and_class(here: Path) -> None:
    (here / "py_deed.py").write_text("open('RAN', 'w')\n")
    ((kind, message),) = notes(PYTHON)
    assert kind == "code" and message.startswith("layer 'py' runs Python code: class 'L' of py_deed.py")
    assert not (here / "RAN").exists()


def test_code_that_is_not_there_is_no_note() -> None:
    assert notes(PYTHON) == []


@pytest.mark.parametrize(
    ("file", "outside"),
    [("a.h5", False), ("./b/../a.h5", False), ("../a.h5", True), ("/tmp/a.h5", True), ("link/a.h5", True)],
)
def test_files_that_would_be_written_are_notes_and_those_outside_are_told(here: Path, file: str, outside: bool) -> None:
    (here / "b").mkdir()
    (here / "link").symlink_to(here.parent)
    expected = f"layer 'out' writes to '{file}'" + (", outside the working folder" if outside else "")
    assert notes(OUTPUT % file) == [("writes", expected)]
    assert not list(here.parent.rglob("*.h5"))
