"""`caffe-compat data extract` writes what the net computes, in the records of Caffe's extract_features."""

import h5py
import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from caffe_compat.data.databases import open_database
from caffe_compat.proto.schema import Datum


@pytest.fixture
def net(problem):
    net = cc.Net(cc.read_model("net.prototxt"))
    cc.write_model(net.model(), "trained.prototxt", "trained.caffemodel")
    return net


def records_of(path, backend):
    database = open_database(path, backend)
    found = list(database.key_order()), [bytes(record) for record in database.records()]
    database.close()
    return found


@pytest.mark.parametrize("backend", ["lmdb", "leveldb"])
def test_each_item_is_one_record_of_floats_without_a_label(problem, net, capsys, backend):
    assert main(["data", "extract", "trained.caffemodel", "net.prototxt", "conv2,ip1", "a,b", "3", backend]) == 0
    assert capsys.readouterr().out == "a: 30 records of blob conv2\nb: 30 records of blob ip1\n"
    batches = [net.blobs() for _ in range(3)]
    for name, database in (("conv2", "a"), ("ip1", "b")):
        values = np.concatenate([batch[name].detach().numpy() for batch in batches])
        keys, records = records_of(problem.folder / database, backend.upper())
        assert keys == [b"%010d" % number for number in range(30)]
        for record, value in zip(records, values, strict=True):
            channels, height, width = (*value.shape, 1, 1)[:3]
            wanted = Datum(channels=channels, height=height, width=width, float_data=value.ravel())
            assert Datum.FromString(record).SerializeToString() == record  # fields in Caffe's order
            found = Datum.FromString(record)
            np.testing.assert_allclose(found.float_data, wanted.float_data, rtol=1e-5, atol=1e-6)
            wanted.ClearField("float_data")
            found.ClearField("float_data")
            assert found == wanted  # no label either


def test_arrays_hold_every_item_of_a_blob(problem, net, capsys):
    words = ["data", "extract", "trained.caffemodel", "net.prototxt", "conv2,loss", "a.npy,b.npy", "3", "npy"]
    assert main(words) == 0
    assert capsys.readouterr().out == "a.npy: 30 items of blob conv2\nb.npy: 3 items of blob loss\n"
    batches = [net.blobs() for _ in range(3)]
    for name, path in (("conv2", "a.npy"), ("loss", "b.npy")):
        wanted = np.concatenate([np.atleast_1d(batch[name].detach().numpy()) for batch in batches])
        found = np.load(path)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6, strict=True)
    assert main(words) == 2
    assert "a.npy: exists and is kept" in capsys.readouterr().err
    assert main([*words, "--force-overwrite"]) == 0


def test_arrays_take_any_number_of_axes_and_nothing_half_written_stays(problem, capsys):
    problem.edit(
        "net.prototxt",
        'layer { name: "accuracy"',
        """layer { name: "five" type: "Reshape" bottom: "conv2"
        top: "five" reshape_param { shape { dim: 0 dim: 5 dim: 2 dim: 2 dim: 4 } } }
        layer { name: "accuracy\"""",
    )
    net = cc.Net("net.prototxt")
    cc.extract_arrays(net, ["five"], [problem.folder / "five.npy"], 1)
    assert np.load("five.npy").shape == (10, 5, 2, 2, 4)
    with h5py.File("data.h5", "r+") as file:
        file["label"][15] = 9
    with pytest.raises(cc.DataError):
        cc.extract_arrays(cc.Net("net.prototxt"), ["conv1"], [problem.folder / "x.npy"], 2)
    assert not [path for path in problem.folder.iterdir() if "x.npy" in path.name]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["conv9", "a", "1", "lmdb"], "net 'Small' has no blob 'conv9'; did you mean 'conv2' or 'conv1'?"),
        (["conv1,conv2", "a", "1", "lmdb"], "2 blobs for 1 databases: name one database for each blob"),
        (["conv1,conv2", "a,a", "1", "lmdb"], "is to be written twice"),
        (["conv1", "a", "0", "lmdb"], "0 batches: must be 1 or more"),
        (["conv1", "a", "1", "hdf5"], "invalid choice: 'hdf5'"),
        (["conv1,conv2", "a,list.txt/b", "1", "lmdb"], "list.txt/b: cannot be written"),
        (["conv1,conv2", "a,list.txt", "1", "leveldb"], "list.txt: exists and is kept"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_half_database(problem, net, capsys, words, wanted):
    try:
        status = main(["data", "extract", "trained.caffemodel", "net.prototxt", *words])
    except SystemExit as stop:
        status = stop.code
    message = capsys.readouterr().err
    assert status == 2 and wanted in message and message.count("\n") == 1
    assert not (problem.folder / "a.partial").exists()


def test_a_net_that_fails_on_the_way_leaves_no_database(problem, net):
    calls = []

    def broken(only, inputs):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("out of order")
        return type(net).values_for(net, only, inputs)

    net.values_for = broken
    with pytest.raises(RuntimeError, match="out of order"):
        cc.extract_features(net, ["ip1"], [problem.folder / "a"], 5)
    assert not list(problem.folder.glob("a*"))


def test_a_deploy_net_is_told_to_need_a_data_layer(problem, net, capsys):
    cc.write_model(cc.deploy(net.model()), "deploy.prototxt", "deploy.caffemodel")
    assert main(["data", "extract", "deploy.caffemodel", "deploy.prototxt", "ip1", "a", "1", "lmdb"]) == 2
    said = capsys.readouterr().err
    assert "deploy.prototxt: is a deploy net: its inputs (data)" in said and not (problem.folder / "a").exists()
