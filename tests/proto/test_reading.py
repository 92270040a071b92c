"""Files from outside: whatever lies at a path is read or refused at once, in one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import caffe_compat as cc
from caffe_compat.data.archives import archived, unzipped
from caffe_compat.data.databases import open_database
from caffe_compat.data.hdf5 import HDF5Batches, read_file_list
from caffe_compat.data.ilsvrc import synset_labels
from caffe_compat.data.image_windows import read_window_file
from caffe_compat.data.images import read_image
from caffe_compat.data.transform import read_mean
from caffe_compat.proto.reading import decoded, open_file, read_bytes, read_json, read_lines
from caffe_compat.pycaffe.door import run_as_caffe
from caffe_compat.recipes.training import weights_files
from caffe_compat.solver.state import read_state

READERS: dict[str, Callable[[Path], Any]] = {
    "net": cc.read_net,
    "model": cc.read_model,
    "weights": cc.read_weights,
    "solver": cc.read_solver,
    "state": read_state,
    "blob": cc.read_blob,
    "ranks": cc.read_ranks,
    "labels": cc.read_labels,
    "mean": read_mean,
    "mean planes": cc.read_mean_planes,
    "npz": cc.read_npz,
    "npy": cc.read_npy,
    "image": read_image,
    "image list": cc.read_image_list,
    "window list": read_window_file,
    "hdf5": lambda path: HDF5Batches([path], ["data"], 1),
    "hdf5 list": read_file_list,
    "archive": lambda path: list(archived(path, "a")),
    "gz": unzipped,
    "lmdb": lambda path: open_database(path, "LMDB"),
}


@pytest.fixture(params=["fifo", "device", "folder", "missing", "NUL in its name", "long name", "circular link"])
def nothing_to_read(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "file"
    if request.param == "fifo":
        os.mkfifo(path)
    elif request.param == "device":
        return Path("/dev/zero")
    elif request.param == "folder":
        path.mkdir()
    elif request.param == "NUL in its name":
        return tmp_path / "a\0b"
    elif request.param == "long name":
        return tmp_path / ("a" * 5000)
    elif request.param == "circular link":
        path.symlink_to(path)
    return path


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file_is_refused_at_once_in_one_line(reader: str, nothing_to_read: Path) -> None:
    with pytest.raises(cc.CaffeCompatError) as caught:
        READERS[reader](nothing_to_read)
    said = str(caught.value)
    assert said.isprintable() and len(said) < 1000
    assert nothing_to_read.name[:10].replace("\0", "\\u0000") in said


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (cc.read_net, cc.ParseError),
        (cc.open_snapshot, cc.SolverError),
        (weights_files, cc.WeightsError),
        (lambda path: synset_labels(path.parent, path), cc.DataError),
        (lambda path: run_as_caffe([str(path)]), cc.CaffeCompatError),
    ],
    ids=["net", "state", "weights", "synsets", "script"],
)
def test_a_fifo_is_called_that(tmp_path: Path, read: Callable[[Path], Any], error: type[Exception]) -> None:
    os.mkfifo(tmp_path / "net.prototxt")
    with pytest.raises(error, match=r"net.prototxt: cannot be read: is a FIFO; a regular file is wanted"):
        read(tmp_path / "net.prototxt")


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert read_bytes(tmp_path / "b") == b"content"
    with open_file(tmp_path / "b") as file:
        assert file.read(3) == b"con"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a\xc3\xa4", "aä"),
        (b"\xef\xbb\xbfa", "a"),
        ("aä".encode("utf-16"), "aä"),
        (b"\xfe\xff\x00a", "a"),
        (b"\xe4", "\udce4"),
        (b"\xff\xfea", "\udcff\udcfea"),
    ],
)
def test_text_is_read_whatever_editor_wrote_it(content: bytes, text: str) -> None:
    assert decoded(content) == text


def test_lines_keep_names_as_the_system_has_them(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"b\xe4r.png 1\r\na\xc2\x85b.png 2\n")
    assert read_lines(tmp_path / "list") == [os.fsdecode(b"b\xe4r.png 1"), "a\x85b.png 2", ""]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x89HDF\r\n\x1a\n\0\0", "this is HDF5 itself; name it in a list, and the list in the net"),
        (b"\x89PNG\r\n\x1a\n\0\0", "this is an image"),
        (b"<!DOCTYPE html>\n", "this is a web page"),
    ],
)
def test_a_file_that_is_no_list_is_called_what_it_is(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(cc.DataError, match=told):
        read_lines(tmp_path / "a.h5")
    with pytest.raises(cc.DataError, match=told):
        read_file_list(tmp_path / "a.h5")


def test_a_list_may_begin_with_the_letters_of_a_program(tmp_path: Path) -> None:
    names = [f"MZ{number}/image.png 1" for number in range(9)]
    (tmp_path / "list").write_text("\n".join(names))
    assert read_lines(tmp_path / "list") == names


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe\xfd", b"[" * 100_000, b'{"a":' * 5000, b"9" * 5000, b'"\xff"'],
    ids=["empty", "cut", "no text", "brackets", "braces", "digits", "string"],
)
def test_json_that_is_none_is_said_with_what_was_wanted(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(cc.RankError, match=r"a.json: a list is wanted, and this is no JSON") as caught:
        read_json(tmp_path / "a.json", "a list", cc.RankError)
    assert "\n" not in str(caught.value)


def test_too_little_memory_passes_as_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    (tmp_path / "a.npy").write_bytes(b"x")
    monkeypatch.setattr("numpy.lib.format.read_magic", fail)
    with pytest.raises(MemoryError):
        cc.read_npy(tmp_path / "a.npy")


@pytest.mark.parametrize("name", ["net", "weights", "npy", "image", "image list"])
def test_a_path_with_backslashes_is_refused_with_the_path_that_is_there(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my files").mkdir()
    (tmp_path / "my files" / "a").write_text("")
    with pytest.raises(cc.CaffeCompatError, match=r"^my files\\a: .*No such file.*; my files/a is there: write /"):
        READERS[name](Path("my files\\a"))
    with pytest.raises(cc.CaffeCompatError, match=r"^my files\\b: .*No such file or directory\)?$"):
        READERS[name](Path("my files\\b"))
