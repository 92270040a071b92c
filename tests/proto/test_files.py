"""Files are written whole or not at all, and found where Caffe finds them."""

import errno
import os
import time
from pathlib import Path

import pytest

from caffe_compat.errors import DataError, WriteError
from caffe_compat.proto.files import all_or_none, find_file, scratch_folder, write_atomically


def test_file_appears_whole_with_the_usual_permissions(tmp_path):
    path, plain = tmp_path / "a.bin", tmp_path / "plain"
    plain.write_text("")
    with write_atomically(path) as temporary:
        temporary.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode == plain.stat().st_mode
    assert sorted(tmp_path.iterdir()) == [path, plain]


def test_failure_while_writing_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(WriteError) as caught, write_atomically(path) as temporary:
        temporary.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(caught.value) == (
        f"{path}: cannot be written: No space left on device; the file that stood there is unchanged"
    )
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_files_written_together_appear_together_or_not_at_all(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    second.write_bytes(b"old")
    with pytest.raises(WriteError), all_or_none():
        with write_atomically(first) as temporary:
            temporary.write_bytes(b"new")
        with write_atomically(second) as temporary:
            raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == [second] and second.read_bytes() == b"old"
    with all_or_none():
        with all_or_none(), write_atomically(first) as temporary:
            temporary.write_bytes(b"new")
        assert not first.exists()
        with write_atomically(second) as temporary:
            temporary.write_bytes(b"new")
        assert second.read_bytes() == b"old"
    assert first.read_bytes() == second.read_bytes() == b"new"
    assert sorted(tmp_path.iterdir()) == [first, second]


def test_what_killed_writers_left_goes_after_an_hour(tmp_path):
    stale, fresh, other = (tmp_path / name for name in (".a.bin.ab3_xyz9.part", ".b.bin.ab3_xyz8.part", "c.bin.part"))
    for left in (stale, fresh, other):
        left.write_bytes(b"half")
    for old in (stale, other):
        os.utime(old, (time.time() - 4000,) * 2)
    with write_atomically(tmp_path / "d.bin") as temporary:
        temporary.write_bytes(b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {fresh.name, other.name, "d.bin"}


def test_working_directory_comes_before_the_folder_of_the_naming_file(tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "net.prototxt").write_text("")
    (there / "mean.binaryproto").write_text("")
    monkeypatch.chdir(here)
    assert find_file("net.prototxt", there, named_by="solver.prototxt").absolute() == here / "net.prototxt"
    assert find_file("mean.binaryproto", None, there, named_by="solver.prototxt") == there / "mean.binaryproto"


def test_missing_file_is_named_with_every_place_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        find_file("net.prototxt", tmp_path / "sub", None, named_by="solver.prototxt")
    assert str(caught.value) == (
        f"solver.prototxt: 'net.prototxt' is not at {tmp_path}/net.prototxt and {tmp_path}/sub/net.prototxt; "
        "correct the path, or start where it leads from"
    )


def test_backslashes_of_windows_are_slashes_where_nothing_has_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "net.prototxt").write_text("")
    assert find_file("a b\\net.prototxt", named_by="solver.prototxt") == Path("a b/net.prototxt")
    assert find_file(".\\net.prototxt", tmp_path / "a b", named_by="s") == tmp_path / "a b" / "net.prototxt"
    Path("a b\\net.prototxt").write_text("")
    assert find_file("a b\\net.prototxt", named_by="solver.prototxt") == Path("a b\\net.prototxt")


def test_missing_folder_is_named(tmp_path):
    path, message = tmp_path / "missing" / "a.bin", r"a\.bin: cannot be written: No such file or directory"
    with pytest.raises(WriteError, match=message), write_atomically(path):
        pass


@pytest.mark.parametrize("kind", ["FIFO", "folder", "device"])
def test_what_is_no_file_is_not_replaced(tmp_path: Path, kind: str) -> None:
    place = Path(os.devnull) if kind == "device" else tmp_path / "there"
    if kind != "device":
        (os.mkfifo if kind == "FIFO" else os.mkdir)(place)
    before = place.stat()
    with pytest.raises(WriteError, match="it is no file that can be replaced; name"), write_atomically(place):
        pytest.fail("nothing is to be written")
    assert (place.stat().st_mode, place.stat().st_ino) == (before.st_mode, before.st_ino)
    assert not list(tmp_path.glob(".*"))


def test_a_name_that_is_too_long_is_refused_in_one_line(tmp_path: Path) -> None:
    place = tmp_path / ("a" * 300)
    with pytest.raises(WriteError, match="cannot be written: File name too long"), write_atomically(place):
        pytest.fail("nothing is to be written")


def test_a_name_with_a_nul_character_is_refused_in_one_line(tmp_path: Path) -> None:
    said = "no file has a NUL character in its name"
    with pytest.raises(WriteError, match=said), write_atomically(f"{tmp_path}/a\0b"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_a_scratch_folder_is_there_at_once_also_where_others_are_held_back(tmp_path):
    with all_or_none() as held:
        with write_atomically(tmp_path / "a") as temporary:
            temporary.write_bytes(b"a")
        with scratch_folder() as place:
            with write_atomically(place / "b") as temporary:
                temporary.write_bytes(b"b")
            assert (place / "b").read_bytes() == b"b"
        assert not place.exists() and not (tmp_path / "a").exists()
        ((written, path),) = held
        assert path == tmp_path / "a" and written.read_bytes() == b"a"
    assert (tmp_path / "a").read_bytes() == b"a" and len(list(tmp_path.iterdir())) == 1


def test_a_file_that_is_written_within_another_is_told_by_the_outer_name_and_the_reason(tmp_path):
    path = tmp_path / "a.bin"
    with pytest.raises(WriteError) as caught, write_atomically(path) as outer, write_atomically(outer):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert str(caught.value) == f"{path}: cannot be written: No space left on device"
    assert not list(tmp_path.iterdir())
