"""The nets and solvers of reproductions/ are those of the paper: layers of the public models, published settings."""

import pytest

import caffe_compat as cc
from reproductions.record import HERE
from tests.conftest import shared

SOLVERS = sorted(path.relative_to(HERE) for path in HERE.glob("*/solver*.prototxt"))
SHAPES = {"convnet": (1, 3, 32, 32), "lenet": (1, 1, 28, 28), "quickstart": (1, 1, 8, 8)}


def build(folder, phase="TRAIN"):
    path = next(HERE.joinpath(folder).glob("*net.prototxt"), HERE / folder / "train_test.prototxt")
    shapes = {"data": SHAPES[folder], "label": (1,)}
    return cc.Net(cc.read_model(path), phase=phase, compat="wen2017", input_shapes=shapes)


@pytest.mark.parametrize("folder", SHAPES)
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_every_net_can_be_built(folder, phase):
    net = build(folder, phase)
    assert ("accuracy" in net.output_names) == (phase == "TEST") and "loss" in net.output_names


def test_resnet20_is_the_public_net_with_the_force_on_eighteen_convolutions():
    theirs = cc.read_net(shared("models", "resnet20_cifar10/res20_cifar_train_test.prototxt"))
    ours = cc.read_net(HERE / "resnet20" / "train_test.prototxt")

    def wired(net):
        layers = []
        for layer in net.layer:
            fields = layer.convolution_param
            window = fields.num_output, tuple(fields.kernel_size), sum(fields.pad), tuple(fields.stride)
            rates = [(spec.lr_mult, spec.decay_mult) for spec in layer.param]
            layers.append((layer.name, layer.type, list(layer.bottom), list(layer.top), window, rates))
        return layers

    assert wired(ours) == wired(theirs)
    free = [layer.name for layer in ours.layer if layer.type == "Convolution" and not layer.param[0].force_mult]
    assert free == ["Convolution1", "Convolution8", "Convolution15"]  # the first, and the two shortcuts


@pytest.mark.parametrize("path", SOLVERS, ids=str)
def test_every_solver_can_be_read_and_names_its_net(path):
    param = cc.read_solver(HERE / path)
    assert (HERE / path).with_name(param.net).exists()


@pytest.mark.parametrize(
    ("folder", "prototxt"),
    [("convnet", "cifar10_full_h5/cifar10_full_train_test.prototxt"), ("lenet", "lenet_v1/lenet.prototxt")],
)
def test_layers_are_those_of_the_public_net(folder, prototxt):
    theirs = cc.read_net(shared("models", prototxt))
    ours = cc.read_net(HERE / folder / "train_test.prototxt")

    def learned(net):
        """Layers by name and settings, without data, force and the names of data sources."""
        layers = {}
        for layer in net.layer:
            if layer.type not in ("Data", "Softmax"):
                specs = [(spec.lr_mult, spec.decay_mult) for spec in layer.param]
                specs += [(1.0, 1.0)] * (2 - len(specs))
                layer.ClearField("param")
                fields = layer.convolution_param if layer.type == "Convolution" else layer
                if layer.type == "Convolution" and list(fields.stride) == [1]:
                    fields.ClearField("stride")
                layers[layer.name] = (layer.SerializePartialToString(deterministic=True), specs)
        return layers

    assert learned(ours) == learned(theirs)


WHOLE = [path for path in SOLVERS if path.parts[0] == "convnet" and ("force" in path.name or "baseline" in path.name)]


@pytest.mark.parametrize("path", WHOLE, ids=str)
def test_convnet_solvers_have_the_published_settings(path):
    param = cc.read_solver(HERE / path)
    assert (param.base_lr, param.momentum, param.weight_decay) == pytest.approx((0.001, 0.9, 0.004))
    assert (param.lr_policy, param.max_iter, param.gamma) == ("multistep", 240000, pytest.approx(0.1))
    steps = [120000, 200000] if "baseline" in path.name else [200000, 220000]
    assert list(param.stepvalue) == steps
