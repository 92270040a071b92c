"""A model on disk: the net, its weights and its solver, whatever their age and form."""

import logging
import shlex
from pathlib import Path

import numpy as np
import pytest

from caffe_compat.commands import main
from caffe_compat.errors import ParseError, WeightsError, WriteError
from caffe_compat.proto import binary, hdf5, schema
from caffe_compat.proto.model import Model, read_model, read_net, read_solver, read_weights, write_model
from caffe_compat.proto.text import format_text
from tests.conftest import golden, shared

SAVED = golden("formats", "caffemodel")
OLD = golden("formats", "upgrade_binary")


def same(weights, expected):
    assert weights.keys() == expected.keys()
    for layer in expected:
        for found, wanted in zip(weights[layer], expected[layer], strict=True):
            np.testing.assert_array_equal(found, wanted, strict=True)


def test_old_net_is_read_as_a_current_one():
    net = read_net(golden("formats", "upgrade_text", "v1_train.in.prototxt"))
    assert [layer.type for layer in net.layer] == [
        "Data", "Data", "Convolution", "ReLU", "InnerProduct", "SoftmaxWithLoss", "Accuracy"
    ]  # fmt: skip
    assert not net.layers


def test_net_is_read_from_a_caffemodel_without_its_blobs():
    net = read_net(SAVED / "net.caffemodel")
    assert [layer.name for layer in net.layer][:3] == ["x", "block_conv", "block_bn"]
    assert not any(layer.blobs for layer in net.layer)


def test_binary_and_hdf5_weights_give_the_same_model():
    binary = read_model(SAVED / "net.prototxt", SAVED / "net.caffemodel")
    same(read_model(SAVED / "net.prototxt", SAVED / "net.caffemodel.h5").weights, binary.weights)
    same(read_model(SAVED / "net.caffemodel").weights, binary.weights)
    assert set(binary.weights) == {"block_conv", "block_bn", "block_scale", "prelu", "ip1", "ip2"}


def test_model_without_weights_has_none():
    assert read_model(SAVED / "net.prototxt").weights == {}


@pytest.mark.parametrize("name", ["m.caffemodel", "m.caffemodel.h5"])
def test_model_survives_writing_and_reading(name, tmp_path):
    model = read_model(SAVED / "net.prototxt", SAVED / "net.caffemodel")
    write_model(model, tmp_path / "m.prototxt", tmp_path / name)
    copy = read_model(tmp_path / "m.prototxt", tmp_path / name)
    assert copy.net == model.net
    same(copy.weights, model.weights)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["m.prototxt", name])


def test_last_of_several_weight_files_counts(tmp_path):
    first = read_model(OLD / "deploy.prototxt", OLD / "v1.caffemodel")
    second = Model(first.net, {"ip": tuple(array + 1 for array in first.weights["ip"])})
    write_model(second, tmp_path / "second.prototxt", tmp_path / "second.caffemodel")
    files = [OLD / "v1.caffemodel", tmp_path / "second.caffemodel"]
    expected = {"conv": first.weights["conv"], "ip": second.weights["ip"]}
    same(read_model(OLD / "deploy.prototxt", files).weights, expected)
    same(read_model(OLD / "deploy.prototxt", ",".join(map(str, files))).weights, expected)


def test_weights_that_the_net_has_no_layer_for_are_left_out_and_logged(caplog):
    with caplog.at_level(logging.INFO):
        model = read_model(OLD / "deploy.prototxt", OLD / "v2_legacy_blobs.caffemodel")
    assert set(model.weights) == {"conv", "ip"}
    assert "Ignoring source layer not_in_the_net" in caplog.messages


def test_wrong_kinds_of_file_are_named(tmp_path):
    with pytest.raises(ParseError, match="this is text, not weights"):
        read_weights(SAVED / "net.prototxt")
    with pytest.raises(ParseError, match="HDF5 holds weights without their net; give the prototxt too"):
        read_model(SAVED / "net.caffemodel.h5")
    with pytest.raises(ParseError, match=r"none\.caffemodel: cannot be read: No such file"):
        read_model(SAVED / "net.prototxt", tmp_path / "none.caffemodel")
    with pytest.raises(ParseError, match="it is a field of a solver: is this the right file"):
        read_net(golden("resume", "adam", "solver.prototxt"))


def test_weights_as_text_are_refused_with_the_way_to_make_them_binary(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = schema.NetParameter.FromString((OLD / "v1.caffemodel").read_bytes())
    Path("my net.caffemodel").write_text(format_text(net))
    with pytest.raises(ParseError, match="a net with its weights as text") as refused:
        read_weights("my net.caffemodel")
    _, *words = shlex.split(str(refused.value).split("`")[1])
    assert main(words) == 0
    same(read_weights(words[-1]), read_weights(OLD / "v1.caffemodel"))


def test_nothing_is_written_where_hdf5_cannot_hold_a_name(tmp_path):
    net = schema.NetParameter()
    net.layer.add(name="a/b", type="InnerProduct")
    model = Model(net, {"a/b": (np.zeros((1, 1), np.float32),)})
    with pytest.raises(WeightsError, match="layer 'a/b' cannot go into HDF5"):
        write_model(model, tmp_path / "m.prototxt", tmp_path / "m.caffemodel.h5")
    with pytest.raises(WriteError, match="No such file or directory"):
        write_model(model, tmp_path / "missing" / "m.prototxt", tmp_path / "missing" / "m.caffemodel")
    assert not list(tmp_path.iterdir())


def test_missing_snapshot_prefix_is_the_path_of_the_solver(tmp_path):
    path = tmp_path / "lenet_solver.prototxt"
    path.write_text("solver_type: ADAM")
    solver = read_solver(path)
    assert (solver.type, solver.snapshot_prefix) == ("Adam", str(tmp_path / "lenet_solver"))


def test_snapshot_prefix_that_is_a_folder_gets_the_name_of_the_solver(tmp_path):
    path = tmp_path / "lenet_solver.prototxt"
    path.write_text(f'snapshot_prefix: "{tmp_path}"')
    assert read_solver(path).snapshot_prefix == str(tmp_path / "lenet_solver")


# prototxt, weights, number of layers with blobs, and the shapes of one of them
REAL = [
    ("cifar10_full_v1/cifar10_full_train_test.prototxt", "cifar10_full_v1/cifar10_full_iter_70000.caffemodel", 4,
     "ip1", [(10, 1024), (10,)]),
    ("cifar10_full_h5/cifar10_full_train_test.prototxt", "cifar10_full_h5/cifar10_full_iter_100000.caffemodel.h5", 4,
     "conv3", [(64, 32, 5, 5), (64,)]),
    ("cifar10_quick_v1/cifar10_quick.prototxt", "cifar10_quick_v1/cifar10_quick_iter_5000.caffemodel", 5,
     "ip2", [(10, 64), (10,)]),
    ("googlenet/deploy.prototxt", "googlenet/bvlc_googlenet.caffemodel", 58,
     "loss3/classifier", [(1000, 1024), (1000,)]),
    ("hyperlpr_fp16/HorizonalFinemapping.prototxt", "hyperlpr_fp16/HorizonalFinemapping.caffemodel", 4,
     "conv1", [(10, 3, 3, 3), (10,)]),
    ("lenet/lenet.prototxt", "lenet/lenet_iter_10000.caffemodel", 4, "ip1", [(500, 800), (500,)]),
    ("lenet_v1/lenet.prototxt", "lenet_v1/lenet.caffemodel", 4, "ip2", [(10, 500), (10,)]),
    ("mtcnn/det1.prototxt", "mtcnn/det1.caffemodel", 8, "PReLU1", [(10,)]),
    ("mtcnn/det2.prototxt", "mtcnn/det2.caffemodel", 10, "conv2", [(48, 28, 3, 3), (48,)]),
    ("mtcnn/det3.prototxt", "mtcnn/det3.caffemodel", 13, "conv5", [(256, 1152), (256,)]),
    ("resnet20_cifar10/res20_cifar_train_test.prototxt", "resnet20_cifar10/cifar10_res20_iter_64000.caffemodel", 64,
     "BatchNorm1", [(16,), (16,), (1,)]),
    ("slim320/slim-320.prototxt", "slim320/slim-320.caffemodel", 42, "185", [(16, 3, 3, 3), (16,)]),
]  # fmt: skip


@pytest.mark.parametrize(("prototxt", "weights", "layers", "layer", "shapes"), REAL, ids=lambda value: str(value)[:40])
def test_real_model_loads_with_its_prototxt(prototxt, weights, layers, layer, shapes):
    model = read_model(shared("models", prototxt), shared("models", weights))
    assert len(model.weights) == layers
    assert [array.shape for array in model.weights[layer]] == shapes
    assert all(np.isfinite(array).all() for arrays in model.weights.values() for array in arrays)


def test_real_weights_equal_what_plain_protobuf_decodes():
    path = shared("models", "mtcnn", "det2.caffemodel")
    plain = schema.NetParameter.FromString(path.read_bytes())
    weights = read_weights(path)
    for layer in plain.layer:
        for array, blob in zip(weights.get(layer.name, ()), layer.blobs, strict=True):
            np.testing.assert_array_equal(array, np.array(blob.data, np.float32).reshape(tuple(blob.shape.dim)))


@pytest.mark.parametrize("suffix", ["solverstate", "solverstate.h5"])
def test_a_solver_state_given_as_weights_is_named_as_such(suffix, tmp_path):
    path = tmp_path / f"net_iter_5.{suffix}"
    write = hdf5.write_solver_state if suffix.endswith("h5") else binary.write_solver_state
    write(path, binary.SolverStateFile(5, "net_iter_5.caffemodel", (np.ones((2, 3), np.float32),), 0))
    with pytest.raises(ParseError) as caught:
        read_weights(path)
    state = "this is a solver's state, not weights; give its .caffemodel, or resume with --snapshot"
    assert str(caught.value) == f"{path}: {state}"


def test_weights_given_as_a_solver_are_named_as_such(tmp_path):
    binary.write_net(tmp_path / "w.caffemodel", schema.NetParameter(name="w"), {})
    with pytest.raises(ParseError, match=r"w\.caffemodel: this is binary, not a solver; give the solver's prototxt"):
        read_solver(tmp_path / "w.caffemodel")
