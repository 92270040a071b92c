"""LMDB pages walked by ourselves: the records that the C library gives, and no step outside a damaged file."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

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
