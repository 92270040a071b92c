"""LMDB databases, opened and given back."""

import shutil
from pathlib import Path

import pytest

from caffe_compat.data.lmdb import LMDB, _open_environments
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
