"""LMDB databases, opened and given back."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from caffe_compat.data.lmdb import LMDB, _open_environments, write_lmdb
from caffe_compat.errors import DataError
from tests.conftest import golden


def test_a_relative_path_is_given_back_from_another_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(golden("formats", "db", "mnist_lmdb"), tmp_path / "db")
    monkeypatch.chdir(tmp_path)
    database = LMDB(Path("db"))
    monkeypatch.chdir(tmp_path.parent)
    database.close()
    assert not any(key.startswith(str(tmp_path)) for key in _open_environments)


def test_a_database_is_made_with_its_lock_so_that_readers_are_safe_beside_a_writer(tmp_path: Path) -> None:
    """Without a lock file a writer would take the pages of the transaction that a reader still reads."""
    write_lmdb(tmp_path / "db", [(b"%05d" % i, b"first" * 300) for i in range(200)])
    assert (tmp_path / "db" / "lock.mdb").is_file()
    database = LMDB(tmp_path / "db")
    code = (
        "import sys, lmdb\n"
        "for turn in range(6):\n"
        "    environment = lmdb.open(sys.argv[1], map_size=1 << 30)\n"
        "    with environment.begin(write=True) as transaction:\n"
        "        for i in range(200): transaction.put(b'%05d' % i, b'other' * 300)\n"
        "    environment.close()\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "db")], check=True)
    assert all(bytes(record) == b"first" * 300 for record in database.records())
    database.close()
    later = LMDB(tmp_path / "db")
    assert all(bytes(record) == b"other" * 300 for record in later.records())
    later.close()


def test_a_database_that_is_cut_while_it_is_read_ends_in_a_line(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "db", [(b"%05d" % i, bytes(3000)) for i in range(500)])
    database = LMDB(tmp_path / "db")
    records = database.records()
    next(records)
    os.truncate(tmp_path / "db" / "data.mdb", 8192)
    with pytest.raises(DataError, match=r"data.mdb: became shorter while it was read"):
        list(database.records())
