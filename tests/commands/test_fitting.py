"""`caffe-compat decompose --fit` and `--recalibrate`, with the data of the net itself or of another."""

import numpy as np
import pytest
import torch

import caffe_compat as cc
from caffe_compat.commands import main
from tests.decompose.cases import draw_weights

DATA = """
layer { name: "data" type: "DummyData" top: "data"
  dummy_data_param { shape { dim: 16 dim: 4 dim: 6 dim: 7 } data_filler { type: "gaussian" mean: 1 } } }
"""
INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 4 dim: 6 dim: 7 } } }'
LAYERS = """
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 12 kernel_size: 3 } }
layer { name: "bn" type: "BatchNorm" bottom: "c" top: "bn" }
layer { name: "relu" type: "ReLU" bottom: "bn" top: "bn" }
layer { name: "d" type: "Convolution" bottom: "bn" top: "d" convolution_param { num_output: 8 kernel_size: 3 } }
"""
SHAPES = {"c": [[12, 4, 3, 3], [12]], "bn": [[12], [12], [1]], "d": [[8, 12, 3, 3], [8]]}


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)  # of the images
    weights = {name: tuple(np.abs(blob) if name == "bn" else blob for blob in blobs)
               for name, blobs in draw_weights(SHAPES).items()}  # fmt: skip
    for name, source in (("data", DATA), ("deploy", INPUT)):
        net = cc.parse_text(source + LAYERS, cc.NetParameter)
        cc.write_model(cc.Model(net, weights), f"{name}.prototxt", "net.caffemodel")
    return weights


def error_of(prefix):
    """Relative squared error of blob d on fresh images like those fitted to."""
    images = np.random.default_rng(5).normal(1, 1, (50, 4, 6, 7)).astype(np.float32)
    dense = cc.Net(cc.read_model("deploy.prototxt", "net.caffemodel"), input_shapes={"data": images.shape})
    small = cc.Net(cc.read_model(f"{prefix}.prototxt", f"{prefix}.caffemodel"), input_shapes={"data": images.shape})
    wanted, found = (net(data=images)["d"].detach() for net in (dense, small))
    return float((wanted - found).square().sum() / wanted.square().sum())


def test_chains_fitted_to_the_nets_own_images_have_smaller_errors_than_truncated_weights(files, capsys):
    command = ["decompose", "data.prototxt", "net.caffemodel", "--ranks", "c=5,d=3", "--batches", "20", "--out"]
    for fit in ("weights", "symmetric", "asymmetric"):
        assert main([*command, fit, "--fit", fit]) == 0
        net = cc.read_net(f"{fit}.prototxt")
        net.layer[0].CopyFrom(cc.read_net("deploy.prototxt").layer[0])
        cc.write_model(cc.Model(net, {}), f"{fit}.prototxt")
    errors = [error_of(fit) for fit in ("weights", "symmetric", "asymmetric")]
    assert errors[0] > errors[1] > errors[2]


def test_a_deploy_net_takes_the_images_of_another(files, capsys):
    command = ["decompose", "deploy.prototxt", "net.caffemodel", "--ranks", "c=5", "--out", "small", "--fit=symmetric"]
    assert main(command) == 2
    assert "has no data layer in phase TRAIN" in capsys.readouterr().err
    assert main([*command, "--data-net", "data.prototxt"]) == 0
    plain = cc.decompose(cc.read_model("deploy.prototxt", "net.caffemodel"), {"c": 5})
    fitted = cc.read_model("small.prototxt", "small.caffemodel")
    assert [layer.name for layer in fitted.net.layer] == [layer.name for layer in plain.net.layer]
    assert not np.allclose(fitted.weights["c_lowrank"][0], plain.weights["c_lowrank"][0])


def test_recalibration_measures_batch_norm_on_the_images(files, capsys):
    command = ["decompose", "data.prototxt", "net.caffemodel", "--ranks", "c=5", "--out", "small", "--recalibrate"]
    assert main([*command, "--batches", "4"]) == 0
    small = cc.read_model("small.prototxt", "small.caffemodel").weights
    assert small["bn"][2][0] == 4
    mean = small["c_lowrank"][0].sum(axis=(1, 2, 3)) @ small["c_linear"][0][:, :, 0, 0].T + small["c_linear"][1]
    # of 4 * 16 * 20 positions, each a sum of 36 normal values around 1
    np.testing.assert_allclose(small["bn"][0] / 4, mean, atol=0.3)


def test_only_lowrank_chains_are_fitted(files, capsys):
    command = ["decompose", "data.prototxt", "net.caffemodel", "--ranks", "c=5", "--fit", "symmetric"]
    assert main([*command, "--method", "separable"]) == 2
    assert "layer 'c': --fit symmetric makes chains of method pca, not separable" in capsys.readouterr().err
