"""Batches put together on a device are those that a data layer reads, to the bit."""

import numpy as np
import pytest
import torch

from caffe_compat.layers.resident import ResidentSet
from caffe_compat.proto.binary import write_blob
from tests.layers.caffe.test_data import data_layer, layer_of, made_set


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize("transform", ["", "crop_size: 4", "mirror: true", "crop_size: 5 mirror: true scale: 0.3"])
@pytest.mark.parametrize("mean", ["none", "values", "image"])
def test_resident_batches_equal_those_read_record_by_record(tmp_path, phase, transform, mean):
    made_set(tmp_path / "db", count=10)
    write_blob(tmp_path / "mean.binaryproto", np.random.RandomState(1).rand(1, 3, 8, 6).astype(np.float32) * 255)
    given = {"none": "", "values": "mean_value: 7", "image": f'mean_file: "{tmp_path}/mean.binaryproto"'}[mean]
    torch.manual_seed(5)
    layer = layer_of(data_layer(tmp_path / "db", batch=4, transform=f"{transform} {given}"), phase=phase)
    layer.share(1, 2)
    resident = ResidentSet(layer.whole_set(), torch.device("cpu"))
    for index in range(7):  # over the end of the ten records
        for mine, theirs in zip(resident.batch(index), layer.next_batch(), strict=True):
            assert torch.equal(mine, theirs)
            assert mine.stride() == theirs.stride()


def test_a_layer_keeps_its_set_until_it_is_closed(tmp_path):
    made_set(tmp_path / "db", count=10)
    layer = layer_of(data_layer(tmp_path / "db"))
    kept = layer.resident()
    assert layer.resident() is kept
    layer.close()
    assert layer.resident() is not kept


@pytest.mark.gpu
def test_a_layer_on_a_gpu_gives_what_it_gives_on_the_cpu(tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    made_set(tmp_path / "db", count=10)
    there, here = (layer_of(data_layer(tmp_path / "db", transform="crop_size: 4 mirror: true")) for _ in range(2))
    there.seed = here.seed
    there.to("cuda")
    for _ in range(5):
        for mine, theirs in zip(there.next_batch(), here.next_batch(), strict=True):
            assert mine.is_cuda
            assert torch.equal(mine.cpu(), theirs)
