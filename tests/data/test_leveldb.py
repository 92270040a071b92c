"""LevelDB databases, opened and given back."""

import gc
from typing import Any

import pytest

from caffe_compat.data.leveldb import LevelDB
from tests.conftest import golden


@pytest.mark.filterwarnings("error")
def test_a_database_collected_as_garbage_while_it_is_read_closes_its_iterators_first() -> None:
    views = []
    for _ in range(20):  # an iterator that outlives its database frees memory that is gone: mostly a crash
        database = LevelDB(golden("formats", "db", "encoded_mixed_leveldb"))
        records = database.records()
        next(records)
        views.append(database._folder)
        circle: list[Any] = [database, records]
        circle.append(circle)
        del database, records, circle
        gc.collect()
    assert not any(view.exists() for view in views)
