"""LevelDB databases, opened and given back."""

import gc
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from caffe_compat.data.leveldb import LevelDB
from caffe_compat.errors import DataError
from tests.conftest import golden

DB = golden("formats", "db", "encoded_mixed_leveldb")


def test_the_view_of_a_process_that_was_killed_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names = "import os; from pathlib import Path; from caffe_compat.data.leveldb import LevelDB"
    here = {**os.environ, "TMPDIR": str(tmp_path)}
    command = f"{names}; view = LevelDB(Path({str(DB)!r})); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", command], env=here).returncode == -9
    (left,) = tmp_path.iterdir()
    LevelDB(DB).close()
    assert list(tmp_path.iterdir()) == [left]  # so new that its process may be about to lock it
    os.utime(left / "LOCK", (0, 0))
    database = LevelDB(DB)
    assert list(tmp_path.iterdir()) == [database._folder]
    subprocess.run([sys.executable, "-c", f"{names}; LevelDB(Path({str(DB)!r})).close()"], env=here, check=True)
    assert list(tmp_path.iterdir()) == [database._folder]  # in use, so it stays
    database.close()


@pytest.mark.filterwarnings("error")
def test_a_database_collected_as_garbage_while_it_is_read_closes_its_iterators_first() -> None:
    views = []
    for _ in range(20):  # an iterator that outlives its database frees memory that is gone: mostly a crash
        database = LevelDB(DB)
        records = database.records()
        next(records)
        views.append(database._folder)
        circle: list[Any] = [database, records]
        circle.append(circle)
        del database, records, circle
        gc.collect()
    assert not any(view.exists() for view in views)


def test_a_table_that_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    shutil.copytree(DB, tmp_path / "db")
    os.mkfifo(tmp_path / "db" / "000099.ldb")
    with pytest.raises(DataError, match=r"000099.ldb is no regular file"):
        LevelDB(tmp_path / "db")
