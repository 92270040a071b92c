"""OpenCV, a reader of Caffe's files that is not ours, takes what write_model writes and computes the same from it."""

import json

import numpy as np
import pytest

import caffe_compat as cc
from tests.conftest import golden, shared
from tests.net.test_golden_nets import _drawn_inputs, _drawn_weights

cv2 = pytest.importorskip("cv2")

TOLERANCE = 1e-5  # of the largest value: two ways to sum in float32
NETS = [
    "cifar10_quick", "fcn_like", "googlenet_deploy", "lenet", "mobilenet_v1_like", "resnet20_cifar_deploy",
    "squeezenet_v1_1",
]  # fmt: skip


def model_and_inputs(name):
    """A golden net in its deploy form, with inputs of the shapes that it declares."""
    rule = json.loads(golden("nets", f"{name}.json").read_text())
    weights = {layer: tuple(blobs) for layer, blobs in _drawn_weights(rule).items()}
    model = cc.deploy(cc.Model(cc.read_net(golden("nets", f"{name}.prototxt")), weights))
    net, drawn = cc.Net(model), _drawn_inputs(rule)
    return model, {blob: drawn[blob][: net.shapes[blob][0]] for blob in net.input_names}


def assert_same_in_opencv(model, inputs, folder):
    """The outputs, and what the last layer reads, for a softmax hides much."""
    cc.write_model(model, folder / "net.prototxt", folder / "net.caffemodel")
    other = cv2.dnn.readNetFromCaffe(str(folder / "net.prototxt"), str(folder / "net.caffemodel"))
    for blob, values in inputs.items():
        other.setInput(values, blob)
    blobs = cc.Net(model).blobs(**inputs)
    makers = {top: layer.name for layer in model.net.layer for top in layer.top}
    last = model.net.layer[-1]
    for blob in (*last.top, last.bottom[0]):
        wanted = blobs[blob].detach().numpy()
        found = other.forward(makers[blob])
        assert found.size == wanted.size
        error = np.abs(found.reshape(wanted.shape) - wanted).max()
        assert error <= TOLERANCE * np.abs(wanted).max(), f"{blob}: {error}"


@pytest.mark.parametrize("name", NETS)
def test_a_written_net_gives_the_same_in_opencv(name, tmp_path):
    model, inputs = model_and_inputs(name)
    assert_same_in_opencv(model, inputs, tmp_path)


@pytest.mark.parametrize("method", ["pca", "svd", "separable"])
@pytest.mark.parametrize("name", ["cifar10_quick", "lenet"])
def test_a_decomposed_net_gives_the_same_in_opencv(name, method, tmp_path):
    model, inputs = model_and_inputs(name)
    ranks = {layer: max(rank // 2, 1) for layer, rank in cc.ranks_by_energy(model, 0.8).items()}
    assert_same_in_opencv(cc.decompose(model, ranks, method), inputs, tmp_path)


def test_a_decomposed_net_with_groups_and_inner_products_gives_the_same_in_opencv(tmp_path):
    text = """
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 4 dim: 9 dim: 7 } } }
    layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param {
      num_output: 8 group: 2 kernel_h: 3 kernel_w: 5 pad_h: 1 pad_w: 2 stride: 2 weight_filler { type: "xavier" } } }
    layer { name: "ip" type: "InnerProduct" bottom: "c" top: "ip"
      inner_product_param { num_output: 6 weight_filler { type: "xavier" } } }
    """
    net = cc.parse_text(text, cc.NetParameter)
    model = cc.decompose(cc.Model(net, cc.Net(net).weights()), {"c": 4, "ip": 3})
    inputs = {"data": np.random.default_rng(0).standard_normal((2, 4, 9, 7)).astype(np.float32)}
    assert_same_in_opencv(model, inputs, tmp_path)


@pytest.mark.parametrize("keep", [None, 0.9])
def test_a_trained_net_gives_the_same_in_opencv(keep, tmp_path):
    files = ("cifar10_full.prototxt", "cifar10_full_iter_100000.caffemodel.h5")
    model = cc.read_model(*(shared("models", "cifar10_full_h5", file) for file in files))
    if keep is not None:
        model = cc.decompose(model, cc.ranks_by_energy(model, keep))
    images = np.random.default_rng(0).uniform(-128, 128, cc.Net(model).shapes["data"]).astype(np.float32)
    assert_same_in_opencv(model, {"data": images}, tmp_path)


# Old binaries keep their four old dimensions when written, half precision stays half
REAL = [
    ("cifar10_full_v1", "cifar10_full.prototxt", "cifar10_full_iter_70000.caffemodel"),
    ("cifar10_quick_v1", "cifar10_quick.prototxt", "cifar10_quick_iter_5000.caffemodel"),
    ("mtcnn", "det1.prototxt", "det1.caffemodel"),
    ("mtcnn", "det3.prototxt", "det3.caffemodel"),
    ("hyperlpr_fp16", "HorizonalFinemapping.prototxt", "HorizonalFinemapping.caffemodel"),
]


@pytest.mark.parametrize(("folder", "prototxt", "weights"), REAL, ids=lambda part: part)
def test_a_real_model_written_again_gives_the_same_in_opencv(folder, prototxt, weights, tmp_path):
    model = cc.read_model(shared("models", folder, prototxt), shared("models", folder, weights))
    drawn = np.random.default_rng(1)
    inputs = {
        name: drawn.uniform(-1, 1, shape).astype(np.float32)
        for name, shape in cc.Net(model).shapes.items()
        if name in cc.Net(model).input_names
    }
    assert_same_in_opencv(model, inputs, tmp_path)
