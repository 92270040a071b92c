"""Narrowed nets run in OpenCV and in onnxruntime with the same numbers, real and made-up ones."""

import numpy as np
import pytest

import caffe_compat as cc
from tests.conftest import shared

pytestmark = pytest.mark.slow
pytest.importorskip("onnxruntime")


def mobile():
    """Depthwise separable blocks with BatchNorm and Scale, a residual sum, and pooling at the end, as MobileNet's."""
    layers = [source(3, 32), conv("stem", "data", 8, 3, 2), *normalized("stem")]
    bottom = "stem"
    for number, (width, stride) in enumerate([(16, 1), (24, 2), (24, 1), (32, 2)]):
        before, depth, point = bottom, f"dw{number}", f"pw{number}"
        inputs = 8 if not number else [16, 24, 24, 32][number - 1]
        layers += [conv(depth, bottom, inputs, 3, stride, inputs), *normalized(depth)]
        layers += [conv(point, depth, width, 1), *normalized(point)]
        bottom = point
        if inputs == width and stride == 1:
            layers.append(f'layer {{ name: "sum" type: "Eltwise" bottom: "{before}" bottom: "{point}" top: "sum" }}')
            bottom = "sum"
    return "\n".join([*layers, *ending(bottom, 10)])


def squeeze():
    """Fire modules of SqueezeNet: a squeezing convolution, two expanding ones side by side."""
    layers = [source(3, 33), conv("stem", "data", 12, 3, 2), relu("stem"), pool("pool", "stem")]
    bottom = "pool"
    for number, (narrow, wide) in enumerate([(4, 8), (6, 12), (8, 16)]):
        layers += [conv(f"s{number}", bottom, narrow, 1), relu(f"s{number}")]
        layers += [conv(f"l{number}", f"s{number}", wide, 1), relu(f"l{number}")]
        layers += [conv(f"r{number}", f"s{number}", wide, 3), relu(f"r{number}")]
        layers.append(
            f'layer {{ name: "c{number}" type: "Concat" bottom: "l{number}" bottom: "r{number}" top: "c{number}" }}'
        )
        bottom = f"c{number}"
    return "\n".join([*layers, *ending(bottom, 10)])


def alexnet():
    """AlexNet's layers, a quarter as wide: groups, LRN across channels, two fully connected layers."""
    layers = [source(3, 67), conv("conv1", "data", 24, 11, 4), relu("conv1"), lrn("norm1", "conv1")]
    layers += [pool("pool1", "norm1"), conv("conv2", "pool1", 64, 5, 1, 2), relu("conv2"), lrn("norm2", "conv2")]
    layers += [pool("pool2", "norm2"), conv("conv3", "pool2", 96, 3), relu("conv3")]
    layers += [conv("conv4", "conv3", 96, 3, 1, 2), relu("conv4"), conv("conv5", "conv4", 64, 3, 1, 2), relu("conv5")]
    layers += [fully("fc6", "conv5", 128), relu("fc6"), fully("fc8", "fc6", 10), softmax("fc8")]
    return "\n".join(layers)


def source(channels, size):
    dims = f"dim: 2 dim: {channels} dim: {size} dim: {size}"
    return f'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ {dims} }} }} }}'


def conv(name, bottom, filters, kernel, stride=1, group=1):
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param {{ '
        f"num_output: {filters} kernel_size: {kernel} stride: {stride} pad: {kernel // 2} group: {group} "
        'weight_filler { type: "msra" } bias_filler { type: "constant" value: 0.1 } } }'
    )


def normalized(name):
    return [
        f'layer {{ name: "{name}/bn" type: "BatchNorm" bottom: "{name}" top: "{name}" }}',
        f'layer {{ name: "{name}/scale" type: "Scale" bottom: "{name}" top: "{name}" '
        "scale_param { bias_term: true } }",
        relu(name),
    ]


def relu(name):
    return f'layer {{ name: "{name}/relu" type: "ReLU" bottom: "{name}" top: "{name}" }}'


def lrn(name, bottom):
    return f'layer {{ name: "{name}" type: "LRN" bottom: "{bottom}" top: "{name}" lrn_param {{ local_size: 5 }} }}'


def pool(name, bottom):
    return (
        f'layer {{ name: "{name}" type: "Pooling" bottom: "{bottom}" top: "{name}" '
        "pooling_param { pool: MAX kernel_size: 3 stride: 2 } }"
    )


def fully(name, bottom, outputs):
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" inner_product_param {{ '
        f'num_output: {outputs} weight_filler {{ type: "xavier" }} }} }}'
    )


def softmax(bottom):
    return f'layer {{ name: "prob" type: "Softmax" bottom: "{bottom}" top: "prob" }}'


def ending(bottom, classes):
    whole = f'layer {{ name: "whole" type: "Pooling" bottom: "{bottom}" top: "whole" '
    return [whole + "pooling_param { pool: AVE global_pooling: true } }", fully("fc", "whole", classes), softmax("fc")]


def made_up(text):
    """A model of these layers: weights by the fillers, statistics drawn."""
    net = cc.Net(cc.Model(cc.parse_text(text, cc.NetParameter), {}), "TEST")
    weights, draw = net.weights(), np.random.default_rng(0)
    for layer in net.param.layer:
        if layer.type == "BatchNorm":
            mean, variance, _ = weights[layer.name]
            drawn = draw.normal(0, 0.2, mean.shape), draw.uniform(0.5, 2, variance.shape), np.ones(1)
            weights[layer.name] = tuple(blob.astype(np.float32) for blob in drawn)
    return cc.Model(net.param, weights)


def real(folder, net, weights, deployed=False):
    files = [shared(f"models/{folder}") / name for name in (net, weights)]
    model = cc.read_model(*files)
    return cc.deploy(model) if deployed else model


MODELS = {
    "MobileNet-like": lambda: made_up(mobile()),
    "SqueezeNet-like": lambda: made_up(squeeze()),
    "AlexNet with groups": lambda: made_up(alexnet()),
    "GoogLeNet": lambda: real("googlenet", "deploy.prototxt", "bvlc_googlenet.caffemodel"),
    "ResNet-20": lambda: real(
        "resnet20_cifar10", "res20_cifar_train_test.prototxt", "cifar10_res20_iter_64000.caffemodel", True
    ),
}


@pytest.mark.parametrize("criterion", ["l1", "eprune"])
@pytest.mark.parametrize("name", MODELS)
def test_importers_compute_what_the_narrowed_net_does(name, criterion, tmp_path):
    model = MODELS[name]()
    small = cc.prune_filters(model, cc.Selection(criterion, 0.5, beta=1.0)).model
    assert sum(b.size for blobs in small.weights.values() for b in blobs) < 0.9 * sum(
        b.size for blobs in model.weights.values() for b in blobs
    )
    files = tmp_path / "small.prototxt", tmp_path / "small.caffemodel"
    cc.write_model(small, *files)
    again = cc.read_model(*files)
    cc.write_onnx(again, tmp_path / "small.onnx")
    cc.check_onnx(tmp_path / "small.onnx", again)  # raises where an output is off
    pytest.importorskip("cv2")
    found = cc.check_opencv(again)
    assert len(found) > 3 and max(found.values()) < 1e-5, found
