"""Batches that somebody still holds are never written to again."""

import numpy as np
import pytest
import torch

from caffe_compat.data.batches import DatumBatches
from caffe_compat.data.databases import open_database
from caffe_compat.data.datum import encode_datum
from caffe_compat.data.lmdb import write_lmdb
from caffe_compat.data.transform import Transform


@pytest.mark.usefixtures("either_way")
def test_a_held_batch_keeps_its_values_and_a_released_one_gives_its_memory_back(tmp_path):
    images = np.random.RandomState(0).randint(0, 256, (40, 3, 9, 8)).astype(np.uint8)
    write_lmdb(tmp_path / "db", ((b"%02d" % n, encode_datum(image, n)) for n, image in enumerate(images)))
    batches = DatumBatches(open_database(tmp_path / "db"), 4, Transform("d", False, mean=np.float32([1, 2, 3])))
    wanted = images - np.float32([1, 2, 3])[:, None, None]
    held = {index: torch.from_numpy(batches.read(index)[0]) for index in range(0, 30, 2)}
    places = set()
    for index in range(30, 60):
        batch = batches.read(index)[0]
        places.add(batch.ctypes.data)
        del batch
    assert len(places) == 1 and not places & {tensor.data_ptr() for tensor in held.values()}
    for index, tensor in held.items():
        start = index * 4 % 40
        np.testing.assert_array_equal(tensor.numpy(), wanted[start : start + 4])
