"""AlexNet, GoogLeNet and VGG16 have the layers of the public nets; their solvers the published settings."""

import zipfile

import pytest

import caffe_compat as cc
from reproductions.record import HERE
from tests.conftest import shared

PUBLIC = {
    "alexnet": "BVLC__caffe/models/bvlc_alexnet/train_val.prototxt",
    "googlenet": "BVLC__caffe/@9b891540/models/bvlc_googlenet/train_val.prototxt",
    "vgg16": "chengtaipu__lowrankcnn/imagenet/models_vgg/vgg_trainval.prototxt",
}
ELSEWHERE = ("Data", "Accuracy", "Gather")  # the data layer's places differ; VGG16's file gathers images from two GPUs


def layers(net):
    """{name: (type, bottoms, tops, loss weight, multipliers, settings without fillers of VGG16)}."""
    found = {}
    for layer in net.layer:
        if layer.type in ELSEWHERE:
            continue
        multipliers = [(spec.lr_mult, spec.decay_mult) for spec in layer.param]
        rename = {"pool5_gathered": "pool5", "label_gathered": "label"}
        bottoms = [rename.get(name, name) for name in layer.bottom]
        settings = [(kind.name, value) for kind, value in layer.ListFields() if kind.name.endswith("_param")]
        for _, value in settings:
            for name in ("weight_filler", "bias_filler"):
                if name in value.DESCRIPTOR.fields_by_name and value.HasField(name):
                    filler = getattr(value, name)
                    settings = [*settings, (name, (filler.type, round(filler.std, 3), round(filler.value, 3)))]
                    value.ClearField(name)
        found[layer.name] = (layer.type, bottoms, list(layer.top), list(layer.loss_weight), multipliers, settings)
    return found


@pytest.mark.parametrize("name", PUBLIC)
def test_layers_are_those_of_the_public_net(name, tmp_path):
    with zipfile.ZipFile(shared("prototxt", "prototxt.zip")) as archive:
        (tmp_path / "public.prototxt").write_bytes(archive.read(PUBLIC[name]))
    theirs, ours = layers(cc.read_net(tmp_path / "public.prototxt")), layers(cc.read_net(net_of(name)))
    if name == "vgg16":  # its weights were filled with standard deviations that are msra's, rounded
        for found in (theirs, ours):
            for each in found.values():
                each[5][:] = [pair for pair in each[5] if "filler" not in pair[0]]
    assert list(ours) == list(theirs)
    for layer, facts in theirs.items():
        assert ours[layer] == facts, layer


def net_of(name):
    return HERE / name / "train_test.prototxt"


@pytest.mark.parametrize(("name", "count"), [("alexnet", 5), ("googlenet", 59), ("vgg16", 13)])
def test_the_force_acts_on_every_convolution_and_nothing_else(name, count):
    net = cc.read_net(net_of(name))
    forced = [layer.type for layer in net.layer if any(spec.force_mult for spec in layer.param)]
    assert forced == ["Convolution"] * count
    assert sum(layer.type == "Convolution" for layer in net.layer) == count


@pytest.mark.parametrize("name", PUBLIC)
@pytest.mark.parametrize(
    ("method", "kind", "sign"),
    [
        ("force_l2", "Degradation", 1),
        ("force_l1", "Constant", 1),
        ("discrimination_l2", "Degradation", -1),
        ("discrimination_l1", "Constant", -1),
    ],
)
def test_forces_are_of_their_kind_and_sign_at_a_tenth_of_the_baselines_rate(name, method, kind, sign):
    param = cc.read_solver(HERE / name / f"solver_{method}.prototxt")
    assert (param.force_type, param.force_decay * sign > 0) == (kind, True)
    assert param.base_lr == pytest.approx(0.1 * cc.read_solver(HERE / name / "solver_baseline.prototxt").base_lr)


def test_alexnet_has_the_published_schedules():
    force, tune = (cc.read_solver(HERE / "alexnet" / f"solver_{name}.prototxt") for name in ("force_l2", "fine_tune"))
    assert (list(force.stepvalue), force.max_iter) == ([150000, 200000, 220000], 240000)
    assert (list(tune.stepvalue), tune.max_iter, tune.base_lr) == ([70000, 140000], 150000, pytest.approx(0.001))
    assert (force.momentum, force.weight_decay) == pytest.approx((0.9, 5e-4)) and not tune.force_decay


def test_googlenet_has_the_published_schedule():
    param = cc.read_solver(HERE / "googlenet" / "solver_force_l2.prototxt")
    assert (param.lr_policy, param.power, param.max_iter) == ("poly", 0.5, 1200000)
    assert param.weight_decay == pytest.approx(1e-4)
