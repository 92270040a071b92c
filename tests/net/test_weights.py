from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from caffe_compat.errors import ParseError, WeightsError
from caffe_compat.net.net import Net
from caffe_compat.proto.model import Model, read_model, read_net, read_weights, write_model
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text
from tests.conftest import golden

NET = """
name: "n"
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 5 dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "fc8" type: "InnerProduct" bottom: "c" top: "y" inner_product_param { num_output: 10 } }
"""


def net(text: str = NET) -> Net:
    return Net(parse_text(text, NetParameter))


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)


GOOD = {"conv": (drawn(4, 3, 3, 3), drawn(4)), "fc8": (drawn(10, 24), drawn(10))}


def test_weights_go_in_by_layer_name_and_come_out_again() -> None:
    model = net()
    report = model.load_weights(GOOD)
    assert (report.copied, report.ignored, report.missing) == (("conv", "fc8"), (), ())
    for name, blobs in model.weights().items():
        for found, wanted in zip(blobs, GOOD[name], strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_layers_of_other_names_are_ignored_and_layers_without_weights_keep_theirs() -> None:
    model = net()
    report = model.load_weights({"conv": GOOD["conv"], "fc9": GOOD["fc8"]})
    assert (report.copied, report.ignored, report.missing) == (("conv",), ("fc9",), ("fc8",))
    assert not model.weights()["fc8"][0].any()


def test_a_model_brings_its_weights() -> None:
    model = Net(Model(parse_text(NET, NetParameter), GOOD))
    np.testing.assert_array_equal(model.params["fc8"][0].detach(), GOOD["fc8"][0])
    assert model.load_report.copied == ("conv", "fc8")


@pytest.mark.parametrize("ending", [".caffemodel", ".caffemodel.h5"])
def test_weights_come_from_a_file_or_a_model_too(tmp_path: Path, ending: str) -> None:
    trained, path = Model(parse_text(NET, NetParameter), GOOD), tmp_path / f"net{ending}"
    write_model(trained, tmp_path / "net.prototxt", path)
    for source in (path, str(path), trained, Net(trained), (tmp_path / "net.prototxt", path)):
        model = net()
        assert model.load_weights(source).copied == ("conv", "fc8")
        np.testing.assert_array_equal(model.params["conv"][0].detach(), GOOD["conv"][0])
    with pytest.raises(ParseError, match=r"net\.prototxt"):
        net().load_weights(tmp_path / "net.prototxt")
    with pytest.raises(TypeError, match="found int"):
        net().load_weights(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_precisions_are_converted(dtype: Any) -> None:
    model = net()
    model.load_weights({"conv": [blob.astype(dtype) for blob in GOOD["conv"]]})
    np.testing.assert_array_equal(model.weights()["conv"][0], GOOD["conv"][0].astype(dtype).astype(np.float32))


def test_read_only_and_strided_arrays_are_copied() -> None:
    frozen = GOOD["fc8"][0].copy()
    frozen.flags.writeable = False
    model = net()
    model.load_weights({"fc8": (frozen.T.copy().T, frozen[:, 0])})
    np.testing.assert_array_equal(model.weights()["fc8"][1], frozen[:, 0])


@pytest.mark.parametrize(
    ("bias", "weight"), [((1, 1, 1, 10), (1, 1, 10, 24)), ((1, 1, 1, 10), (10, 24)), ((10,), (1, 1, 10, 24))]
)
def test_shapes_of_old_files_fit_with_ones_in_front(bias: tuple[int, ...], weight: tuple[int, ...]) -> None:
    model = net()
    model.load_weights({"fc8": (GOOD["fc8"][0].reshape(weight), GOOD["fc8"][1].reshape(bias))})
    np.testing.assert_array_equal(model.weights()["fc8"][0], GOOD["fc8"][0])
    np.testing.assert_array_equal(model.weights()["fc8"][1], GOOD["fc8"][1])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"fc8": (drawn(1000, 24), drawn(1000))},
            "cannot copy blob 0 of layer 'fc8': source is (1000, 24), target is (10, 24); "
            "rename the layer to learn it from scratch",
        ),
        (
            {"fc8": (drawn(10, 24), drawn(1, 10))},
            "cannot copy blob 1 of layer 'fc8': source is (1, 10), target is (10,); "
            "rename the layer to learn it from scratch",
        ),
        (
            {"fc8": (drawn(10, 24, 1, 1), drawn(10))},
            "cannot copy blob 0 of layer 'fc8': source is (10, 24, 1, 1), target is (10, 24); "
            "rename the layer to learn it from scratch",
        ),
        (
            {"fc8": (drawn(10, 24),)},
            "cannot copy layer 'fc8': source has 1 blobs, target has 2; rename the layer to learn it from scratch",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_nothing_is_copied(weights: dict[str, Any], message: str) -> None:
    model = net()
    with pytest.raises(WeightsError) as caught:
        model.load_weights({"conv": GOOD["conv"], **weights})
    assert str(caught.value) == message
    assert not model.weights()["conv"][0].any()


WRITTEN_BY_CAFFE = [
    (net, caffemodel, phase)
    for folder, phase in (("formats/caffemodel", "TEST"), ("formats/logs", "TRAIN"), ("resume/*", "TRAIN"))
    for net in sorted(golden().glob(f"{folder}/net.prototxt"))
    for caffemodel in sorted(net.parent.glob("*.caffemodel"))
]


@pytest.mark.parametrize(
    ("path", "caffemodel", "phase"), WRITTEN_BY_CAFFE, ids=lambda case: getattr(case, "stem", case)
)
def test_the_written_net_is_what_caffe_wrote(
    path: Path, caffemodel: Path, phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    model = Net(read_net(path), phase, compat="wen2017")
    weights = read_weights(caffemodel)
    assert not model.load_weights(weights).missing
    found = model.model()

    wanted = NetParameter.FromString(caffemodel.read_bytes())
    for layer in wanted.layer:
        layer.ClearField("blobs")
        layer.ClearField("display")  # a field of the fork, which it writes wherever the reader had filled it in
    for layer in found.net.layer:
        layer.ClearField("display")
    assert found.net == wanted
    with_blobs = {name: blobs for name, blobs in weights.items() if blobs}
    assert list(found.weights) == list(with_blobs)
    for name, blobs in with_blobs.items():
        for mine, theirs in zip(found.weights[name], blobs, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_caffe_1_writes_the_lr_mult_0_of_batch_norm() -> None:
    text = 'layer { name: "bn" type: "BatchNorm" bottom: "c" top: "b" param { name: "mean" } }'
    written = net(NET + text).model().net.layer[-1]
    assert [(spec.name, spec.HasField("lr_mult"), spec.lr_mult) for spec in written.param] == [
        ("mean", True, 0),
        ("", True, 0),
        ("", True, 0),
    ]


def test_a_written_model_builds_the_same_net_again() -> None:
    first = Net(
        read_model(golden("formats", "caffemodel", "net.prototxt"), golden("formats", "caffemodel", "net.caffemodel"))
    )
    second = Net(first.model())
    assert second.graph.outputs == first.graph.outputs
    assert second.model().net == first.model().net
    x = torch.randn(3, 2, 6, 5)
    torch.testing.assert_close(second(x=x), first(x=x), rtol=0, atol=0)


def test_a_test_net_uses_the_very_parameters_of_the_training_net() -> None:
    training, testing = net(), net(NET.replace('"n"', '"t"') + 'layer { name: "p" type: "PReLU" bottom: "y" top: "p" }')
    testing.share_weights_with(training)
    assert testing.params["fc8"][0] is training.params["fc8"][0]
    assert [param.tensor for param in testing.learnable_params[:4]] == [p.tensor for p in training.learnable_params]
    with torch.no_grad():
        training.params["fc8"][1].fill_(3)
    assert (testing(x=np.zeros((2, 3, 5, 4)))["p"] == 3).all()
    with pytest.raises(
        WeightsError, match=r"cannot copy blob 0 of layer 'fc8': source is \(9, 24\), target is \(10, 24\)"
    ):
        testing.share_weights_with(net(NET.replace("num_output: 10", "num_output: 9")))


def test_an_inner_product_for_another_size_of_input_is_told_as_that():
    text = """layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 2 dim: 4 dim: 5 } } }
              layer { name: "ip" type: "InnerProduct" bottom: "d" top: "ip" inner_product_param { num_output: 3 } }"""
    net = Net(parse_text(text, NetParameter))
    with pytest.raises(WeightsError, match=r"\(3, 24\), target is \(3, 40\); .*one size of the net's input"):
        net.load_weights({"ip": (np.ones((3, 24), np.float32), np.ones(3, np.float32))})
    with pytest.raises(WeightsError, match=r"source is \(7, 40\), target is \(3, 40\); rename the layer"):
        net.load_weights({"ip": (np.ones((7, 40), np.float32), np.ones(7, np.float32))})
