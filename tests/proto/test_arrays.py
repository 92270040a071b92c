"""NumPy's files from outside: arrays of numbers, never pickles, never more than the file can hold."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import caffe_compat as cc

ARRAYS = {"a/b": np.arange(6, dtype=np.float32).reshape(2, 3), "file": np.asfortranarray(np.ones((3, 2)))}


def npy(array: np.ndarray) -> bytes:
    memory = io.BytesIO()
    np.save(memory, array)
    return memory.getvalue()


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_arrays_are_those_that_numpy_wrote(tmp_path: Path, compression: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", compression) as archive:
        for name, array in ARRAYS.items():
            archive.writestr(f"{name}.npy", npy(array))
    found = cc.read_npz(tmp_path / "a.npz")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert np.array_equal(found[name], array) and found[name].dtype == array.dtype
        (tmp_path / "one.npy").write_bytes(npy(array))
        assert np.array_equal(cc.read_npy(tmp_path / "one.npy"), array)


def test_an_array_that_was_read_can_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(npy(np.zeros(3)))
    cc.read_npy(tmp_path / "a.npy")[1] = 5


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(cc.DataError, match="holds object, not numbers"):
        cc.read_npy(tmp_path / "a.npy")


def test_a_header_that_says_far_more_than_there_is_costs_no_memory(tmp_path: Path) -> None:
    header = npy(np.zeros((7, 1)))[:-56]
    data = header.replace(b"(7, 1), }      ", b"(99999999999,)}")
    assert data != header
    (tmp_path / "a.npy").write_bytes(data)
    tracemalloc.start()
    with pytest.raises(cc.DataError, match="its header says"):
        cc.read_npy(tmp_path / "a.npy")
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


def test_an_archive_that_unpacks_without_bound_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as file:
        file.write(npy(np.zeros(0)).replace(b"(0,), }     ", b"(20971520,)}"))
        for _ in range(160):
            file.write(bytes(1 << 20))
    assert (tmp_path / "a.npz").stat().st_size < 1 << 20
    with pytest.raises(cc.DataError, match="would take more than"):
        cc.read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"", b"PK\3\4", npy(np.zeros(3)), b"PK\5\6" + bytes(18)])
def test_what_is_no_archive_of_arrays_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    if content[:4] == b"PK\5\6":
        assert cc.read_npz(tmp_path / "a.npz") == {}  # an archive of nothing
        return
    with pytest.raises(cc.DataError, match=r"a.npz: is no .npz file of arrays"):
        cc.read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("length", "text", "said"),
    [(0xF0000000, b"{}", "its header has 4026531840 bytes"), (9001, b"-" * 9000 + b"1", "nested too deeply")],
    ids=["gigabytes", "nested"],
)
@pytest.mark.parametrize("is_packed", [False, True])
def test_a_header_that_is_not_numpys_gets_a_line_and_no_memory(
    tmp_path: Path, length: int, text: bytes, said: str, is_packed: bool
) -> None:
    data = b"\x93NUMPY\x02\x00" + length.to_bytes(4, "little") + text
    path = tmp_path / ("a.npz" if is_packed else "a.npy")
    path.write_bytes(data)
    if is_packed:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.npy", data)
    tracemalloc.start()
    with pytest.raises(cc.DataError, match=said):
        (cc.read_npz if is_packed else cc.read_npy)(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_packed_as_numpy_does_not_pack_is_refused(tmp_path: Path, compression: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", compression) as archive:
        archive.writestr("a.npy", npy(np.zeros(3)))
    with pytest.raises(cc.DataError, match=r"write it by np\.savez"):
        cc.read_npz(tmp_path / "a.npz")
