"""LMDB pages walked by ourselves: the records that the C library gives, and no step outside a damaged file."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caffe_compat.data.databases import open_database, write_database
from caffe_compat.data.lmdb import LMDB
from caffe_compat.errors import DataError
from tests.conftest import golden

lmdb = pytest.importorskip("lmdb")
DATABASES = sorted(golden("formats", "db").glob("*_lmdb"))


def by_library(path: Path) -> list[tuple[bytes, bytes]]:
    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return list(transaction.cursor())


def records(count: int) -> Iterator[tuple[bytes, bytes]]:
    """Of all lengths, those above half a page on pages of their own."""
    source = random.Random(count)
    for number in range(count):
        yield b"%06d" % number, source.randbytes(source.choice((0, 1, 7, 100, 2000, 2100, 5000, 70_000)))


@pytest.mark.parametrize("path", DATABASES, ids=lambda path: path.name)
def test_database_of_real_caffe_is_read_as_by_the_library(path: Path) -> None:
    wanted = by_library(path)
    database = LMDB(path)
    assert list(zip(database.key_order(), map(bytes, database.records()), strict=True)) == wanted
    database.close()


@pytest.mark.parametrize("count", [0, 1, 700])
def test_database_of_any_depth_is_read_as_by_the_library(count: int, tmp_path: Path) -> None:
    write_database(tmp_path / "db", records(count))
    wanted = list(records(count))
    assert by_library(tmp_path / "db") == wanted
    database = LMDB(tmp_path / "db")
    assert database.count == count
    for start in {0, 1, count // 2, count - 1, count, count + 5} - {-1}:
        assert list(map(bytes, database.records(start))) == [value for _, value in wanted[start:]]
    assert list(database.key_order()) == [key for key, _ in wanted]
    database.close()


def test_small_records_on_branches_of_branches_are_all_found(tmp_path: Path) -> None:
    write_database(tmp_path / "db", ((b"%040d" % i, b"%d" % i) for i in range(20_000)))
    database = LMDB(tmp_path / "db")
    assert [int(bytes(value)) for value in database.records(19_990)] == list(range(19_990, 20_000))
    assert sum(1 for _ in database.records()) == 20_000
    database.close()


def test_flipped_bytes_never_lead_outside_the_file(tmp_path: Path) -> None:
    write_database(tmp_path / "db", records(60))
    file, source = tmp_path / "db" / "data.mdb", random.Random(0)
    whole, refused = file.read_bytes(), 0
    leaves = [page for page in range(8192, len(whole), 4096) if whole[page + 10 : page + 12] == b"\2\0"]
    for _ in range(400):
        content = bytearray(whole)
        for _ in range(source.randint(1, 3)):
            page = source.choice(leaves)
            content[page + source.randrange(64)] = source.randrange(256)
        file.write_bytes(content)
        try:
            database = open_database(tmp_path / "db")
            for record in database.records():
                bytes(record)
        except DataError as error:
            assert str(error).startswith(str(tmp_path))
            refused += 1
        finally:
            database.close()
    assert refused > 20


def test_file_cut_within_its_header_is_refused(tmp_path: Path) -> None:
    write_database(tmp_path / "db", records(2))
    file = tmp_path / "db" / "data.mdb"
    head = file.read_bytes()[:200]
    for size in range(1, len(head)):
        file.write_bytes(head[:size])
        with pytest.raises(DataError, match=r"data\.mdb: (is|was)"):
            open_database(tmp_path / "db")


def test_headers_of_two_page_sizes_are_refused(tmp_path: Path) -> None:
    """The library seeks the second header by the newer one's page size, and dies where the file ends before."""
    write_database(tmp_path / "db", records(2))
    file = tmp_path / "db" / "data.mdb"
    content = bytearray(file.read_bytes())
    content[4096 + 40 : 4096 + 44] = (32768).to_bytes(4, "little")
    file.write_bytes(content)
    with pytest.raises(DataError, match="two headers say pages of 4096 and 32768 bytes"):
        open_database(tmp_path / "db")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A database without records, one of small records on several leaves, one of records on pages of their own."""
    folder, source = tmp_path_factory.mktemp("small"), random.Random(1)
    files = {}
    for name, count, length in (("empty", 0, 0), ("leaves", 200, 60), ("big", 5, 6000)):
        write_database(folder / name, ((b"%08d" % i, source.randbytes(length)) for i in range(count)))
        files[name] = (folder / name / "data.mdb").read_bytes()
    return files


CHANGES = st.lists(
    st.tuples(st.integers(0, 20), st.one_of(st.integers(0, 200), st.integers(0, 4095)), st.integers(1, 255)), max_size=6
)


@settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["empty", "leaves", "big"]), changes=CHANGES, end=st.none() | st.integers(1, 1 << 15))
def test_changed_bits_and_missing_ends_give_records_or_a_data_error(
    small: dict[str, bytes], tmp_path: Path, name: str, changes: list[tuple[int, int, int]], end: int | None
) -> None:
    content = bytearray(small[name][:end])
    for page, place, bits in changes:
        content[(page * 4096 + place) % len(content)] ^= bits
    file = tmp_path / f"{len(list(tmp_path.iterdir()))}.mdb"  # a new one: the library may have the last one mapped
    file.write_bytes(content)
    try:
        database = LMDB(file)
    except DataError:
        return
    try:
        total = sum(map(len, database.records())) + sum(map(len, database.key_order()))
        assert changes or end is not None or total == {"empty": 0, "leaves": 200 * 68, "big": 5 * 6008}[name]
    except DataError:
        assert changes or end is not None
    finally:
        database.close()


@pytest.mark.parametrize("length", [90, 5000], ids=["in leaves", "on pages of their own"])
def test_rows_are_the_records_of_those_numbers(length: int, tmp_path: Path) -> None:
    values = [random.Random(number).randbytes(length) for number in range(300)]
    write_database(tmp_path / "db", ((b"%06d" % number, value) for number, value in enumerate(values)))
    database = LMDB(tmp_path / "db")
    for numbers in ([7], [299, 0, 3, 3], [*range(40, 90)]):
        rows = database.rows(np.array(numbers))
        assert rows is not None and [row.tobytes() for row in rows] == [values[number] for number in numbers]
    database.close()


def test_records_of_several_lengths_make_no_rows(tmp_path: Path) -> None:
    write_database(tmp_path / "db", ((b"%d" % number, b"x" * (5 + number // 2)) for number in range(4)))
    database = LMDB(tmp_path / "db")
    assert database.rows(np.array([0, 1, 2])) is None and database.rows(np.array([0, 1])) is not None
    database.close()


def test_rows_of_a_file_that_became_shorter_are_refused(tmp_path: Path) -> None:
    write_database(tmp_path / "db", ((b"%04d" % number, b"x" * 3000) for number in range(200)))
    database = LMDB(tmp_path / "db")
    assert database.rows(np.arange(200)) is not None
    os.truncate(tmp_path / "db" / "data.mdb", 8192)
    with pytest.raises(DataError, match="became shorter"):
        database.rows(np.arange(3))
    database.close()
