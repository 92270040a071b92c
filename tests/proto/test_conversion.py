"""Weights and states from .caffemodel to .caffemodel.h5 and back: real Caffe wrote both forms of the same net."""

import h5py
import numpy as np
import pytest

from caffe_compat.errors import ParseError, WeightsError
from caffe_compat.proto import schema
from caffe_compat.proto.binary import read_net, write_net
from caffe_compat.proto.conversion import convert_state, convert_weights
from caffe_compat.proto.hdf5 import read_weights
from tests.conftest import golden, shared
from tests.proto.test_forms import BLOBS, VALUES, caffemodel
from tests.proto.test_hdf5 import listing

SAVED = golden("formats", "caffemodel")
STATES = sorted(golden("resume").rglob("snaph5_iter_15.solverstate.h5"))


def test_binary_becomes_the_hdf5_file_that_caffe_wrote_of_the_same_net(tmp_path):
    convert_weights(SAVED / "net.caffemodel", tmp_path / "net.caffemodel.h5")
    assert listing(tmp_path / "net.caffemodel.h5") == listing(SAVED / "net.caffemodel.h5")


def test_hdf5_becomes_the_binary_file_that_caffe_wrote_shared_blobs_in_every_layer(tmp_path):
    convert_weights(SAVED / "net.caffemodel.h5", tmp_path / "net.caffemodel", net=SAVED / "net.caffemodel")
    assert (tmp_path / "net.caffemodel").read_bytes() == (SAVED / "net.caffemodel").read_bytes()


def test_hdf5_without_its_net_asks_for_it(tmp_path):
    with pytest.raises(ParseError, match="HDF5 holds weights without their net; give --net"):
        convert_weights(SAVED / "net.caffemodel.h5", tmp_path / "net.caffemodel")


@pytest.mark.parametrize("path", STATES[:4], ids=lambda path: path.parent.name)
def test_state_becomes_the_other_form_that_caffe_wrote(path, tmp_path):
    twin = path.parent / path.name.replace("snaph5", "snap").removesuffix(".h5")
    convert_state(twin, tmp_path / "a.solverstate.h5")
    convert_state(tmp_path / "a.solverstate.h5", tmp_path / "b.solverstate")
    assert (tmp_path / "b.solverstate").read_bytes() == twin.read_bytes()
    ours, caffes = listing(tmp_path / "a.solverstate.h5"), listing(path)
    assert ours.keys() == caffes.keys()
    history = [name for name in ours if name.startswith("history/")]
    assert [ours[name] for name in history] == [caffes[name] for name in history]


def slashed(tmp_path, *names):
    net, weights = schema.NetParameter(name="n"), {}
    for i, name in enumerate(names):
        net.layer.add(name=name, type="InnerProduct")
        weights[name] = (np.full((1, 2), i, np.float32),)
    write_net(tmp_path / "in.caffemodel", net, weights)
    return tmp_path / "in.caffemodel"


def test_slash_in_names_goes_there_and_back_with_a_sign_for_it(tmp_path):
    path, middle = slashed(tmp_path, "conv1/7x7", "pool1", "a/b/c"), tmp_path / "net.h5"
    with pytest.raises(WeightsError, match=r"'conv1/7x7' cannot go into HDF5.*--rename-slash _"):
        convert_weights(path, middle)
    assert not middle.exists()
    written = convert_weights(path, middle, slash="_")
    assert [layer.name for layer in written.net.layer] == ["conv1_7x7", "pool1", "a_b_c"]
    with h5py.File(middle) as file:
        assert sorted(file["data"]) == ["a_b_c", "conv1_7x7", "pool1"]
    convert_weights(middle, tmp_path / "back.caffemodel", net=path, slash="_")
    assert (tmp_path / "back.caffemodel").read_bytes() == path.read_bytes()
    with pytest.raises(
        WeightsError, match=r"has no weights for any layer of .*--rename-slash where names were changed"
    ):
        convert_weights(middle, tmp_path / "back.caffemodel", net=slashed(tmp_path, "a/x"))


def test_sign_that_makes_two_names_one_is_refused(tmp_path):
    path = slashed(tmp_path, "a/b", "a_b")
    with pytest.raises(WeightsError, match="layers 'a/b' and 'a_b' would both be 'a_b'; choose another sign"):
        convert_weights(path, tmp_path / "net.h5", slash="_")
    convert_weights(path, tmp_path / "net.h5", slash="__")
    assert set(read_weights(tmp_path / "net.h5")) == {"a__b", "a_b"}


def test_two_layers_of_one_name_go_into_hdf5_when_one_is_renamed(tmp_path):
    path = tmp_path / "twice.caffemodel"
    path.write_bytes(caffemodel(BLOBS["legacy"]) + caffemodel(BLOBS["diff"]))
    with pytest.raises(WeightsError, match=r"two layers are named 'ip', .* --rename-duplicates"):
        convert_weights(path, tmp_path / "net.h5")
    written = convert_weights(path, tmp_path / "net.h5", rename_duplicates=True)
    assert [layer.name for layer in written.net.layer] == ["ip", "ip_2"]
    assert set(read_weights(tmp_path / "net.h5")) == {"ip", "ip_2"}


@pytest.mark.parametrize("name", ["diff", "double diff"])
def test_diffs_lie_where_snapshot_diff_puts_them_and_come_back(name, tmp_path):
    path, middle = tmp_path / "in.caffemodel", tmp_path / "net.h5"
    path.write_bytes(caffemodel(BLOBS[name]))
    convert_weights(path, middle)
    with h5py.File(middle) as file:
        wanted = (VALUES * (3 if "double" in name else 2)).reshape(2, 3)
        np.testing.assert_array_equal(file["diff/ip/0"], wanted)
        assert file["diff/ip/0"].dtype == file["data/ip/0"].dtype == (np.float64 if "double" in name else np.float32)
    convert_weights(middle, tmp_path / "back.caffemodel", net=path)
    assert (tmp_path / "back.caffemodel").read_bytes() == path.read_bytes()


def test_plain_is_what_any_caffe_reads(tmp_path):
    path = tmp_path / "in.caffemodel"
    path.write_bytes(caffemodel(BLOBS["half and its diff"], BLOBS["double diff"], BLOBS["legacy"]))
    convert_weights(path, tmp_path / "out.caffemodel", plain=True)
    for blob in schema.NetParameter.FromString((tmp_path / "out.caffemodel").read_bytes()).layer[0].blobs:
        assert [field.name for field, _ in blob.ListFields()] == ["data", "shape"]
        np.testing.assert_array_equal(blob.data, VALUES)


@pytest.mark.parametrize("folder", ["googlenet", "resnet20_cifar10", "lenet_v1", "hyperlpr_fp16", "slim320"])
def test_real_model_survives_hdf5(folder, tmp_path):
    (path,) = shared("models", folder).glob("*.caffemodel")
    net, weights = read_net(path)
    convert_weights(path, tmp_path / "net.caffemodel.h5", slash="_")
    convert_weights(tmp_path / "net.caffemodel.h5", tmp_path / "back.caffemodel", net=path, slash="_")
    again, found = read_net(tmp_path / "back.caffemodel")
    assert again == net and list(found) == list(weights)
    for name, blobs in weights.items():
        for blob, other in zip(blobs, found[name], strict=True):
            np.testing.assert_array_equal(other, blob, strict=True)
