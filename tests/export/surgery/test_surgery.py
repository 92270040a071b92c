"""Each rewrite computes what the original does, by loops over weights or by the original fed what corresponds."""

import dataclasses
import json

import numpy as np
import pytest
import torch

import caffe_compat as cc
from caffe_compat.commands import main
from tests.conftest import shared

NET = """name: "small"
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3
  weight_filler { type: "gaussian" std: 0.2 } bias_filler { type: "gaussian" std: 0.2 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "fc1" type: "InnerProduct" bottom: "pool" top: "fc1" inner_product_param { num_output: 5
  weight_filler { type: "gaussian" std: 0.2 } bias_filler { type: "gaussian" std: 0.2 } } }
layer { name: "relu1" type: "ReLU" bottom: "fc1" top: "fc1" }
layer { name: "fc2" type: "InnerProduct" bottom: "fc1" top: "fc2" inner_product_param { num_output: 3 transpose: true
  bias_term: false weight_filler { type: "gaussian" std: 0.2 } } }
layer { name: "prob" type: "Softmax" bottom: "fc2" top: "prob" }
"""


def drawn(text=NET):
    torch.manual_seed(3)
    net = cc.Net(cc.Model(cc.parse_text(text, cc.NetParameter), {}), "TEST")
    return cc.Model(net.param, net.weights())


def run(model, x):
    with torch.no_grad():
        return {k: v.numpy() for k, v in cc.Net(model, "TEST", input_shapes={"data": x.shape})(data=x).items()}["prob"]


@pytest.fixture
def x():
    return np.random.RandomState(0).standard_normal((2, 3, 9, 8)).astype(np.float32)


def test_a_fully_convolutional_net_gives_the_same_and_slides_over_a_larger_image(x):
    model = drawn()
    made = cc.fully_convolutional(model).model
    assert [layer.name for layer in made.net.layer if layer.type == "Convolution"] == ["conv", "fc1-conv", "fc2-conv"]
    assert made.weights["fc1-conv"][0].shape == (5, 4, 4, 3) and made.weights["fc2-conv"][0].shape == (3, 5, 1, 1)
    np.testing.assert_allclose(run(made, x)[..., 0, 0], run(model, x), rtol=1e-5, atol=1e-6)
    large = np.random.RandomState(1).standard_normal((1, 3, 9, 12)).astype(np.float32)
    slid = run(made, large)  # a step of the slid window is two pixels, for the pooling in between
    for step in range(slid.shape[3]):
        np.testing.assert_allclose(
            slid[0, :, 0, step], run(model, large[..., 2 * step : 2 * step + 8])[0], rtol=1e-5, atol=1e-6
        )
    assert slid.shape == (1, 3, 1, 3)


def test_there_and_back_gives_the_weights_that_were_there(x):
    model = drawn()
    back = cc.fully_connected(cc.fully_convolutional(model).model).model
    assert [layer.name for layer in back.net.layer] == [layer.name for layer in model.net.layer]
    np.testing.assert_array_equal(back.weights["fc1"][0], model.weights["fc1"][0])
    np.testing.assert_array_equal(back.weights["fc2"][0], model.weights["fc2"][0].T)  # no longer transposed
    np.testing.assert_allclose(run(back, x), run(model, x), rtol=1e-6)


def test_swapped_channels_take_rgb_where_bgr_was_taken(x):
    model = drawn()
    np.testing.assert_allclose(run(cc.swap_channels(model).model, x[:, ::-1].copy()), run(model, x), rtol=1e-5)
    turned = cc.swap_channels(model, (2, 0, 1)).model  # channel 0 of what is fed is channel 2 of what was
    np.testing.assert_allclose(run(turned, x[:, [2, 0, 1]]), run(model, x), rtol=1e-5)


def test_a_grey_image_gives_what_it_gives_three_times_over(x):
    model, grey = drawn(), x[:, :1].copy()
    made = cc.join_channels(model).model
    assert made.net.layer[0].input_param.shape[0].dim == [2, 1, 9, 8]
    np.testing.assert_allclose(run(made, grey), run(model, np.repeat(grey, 3, axis=1)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("bias", [True, False])
def test_mean_and_scale_inside_take_raw_pixels(x, bias):
    model = drawn(NET if bias else NET.replace("kernel_size: 3", "kernel_size: 3 bias_term: false"))
    raw = (40 * x + 100).astype(np.float32)
    mean = np.float32([104, 117, 123])
    made = cc.fold_scaling(model, mean, 0.017).model
    wanted = run(model, ((raw - mean[:, None, None]) * np.float32(0.017)).astype(np.float32))
    np.testing.assert_allclose(run(made, raw), wanted, rtol=2e-4, atol=1e-6)  # 100s cancel in float32
    only_scaled = cc.fold_scaling(model, scale=0.5).model
    assert len(only_scaled.weights["conv"]) == len(model.weights["conv"])
    np.testing.assert_allclose(run(only_scaled, x), run(model, x / 2), rtol=1e-5)


def test_first_layers_that_are_fully_connected_are_rewritten_too():
    text = """layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 2 dim: 4 } } }
    layer { name: "ip" type: "InnerProduct" bottom: "data" top: "prob" inner_product_param { num_output: 5
      transpose: true weight_filler { type: "gaussian" std: 0.2 } } }"""
    model, x = drawn(text), np.random.RandomState(2).standard_normal((2, 3, 2, 4)).astype(np.float32)
    np.testing.assert_allclose(
        run(cc.swap_channels(model).model, x[:, ::-1].copy()), run(model, x), rtol=1e-4, atol=1e-5
    )
    mean = np.float32([1, 2, 3])
    folded = cc.fold_scaling(model, mean, 2.0).model
    np.testing.assert_allclose(run(folded, x), run(model, 2 * (x - mean[:, None, None])), rtol=1e-4, atol=1e-4)


def test_what_the_net_tells_of_pixels_stays_true():
    told = {"data": cc.Pixels(mean=(104.0, 117.0, 123.0), scale=0.5)}
    model = dataclasses.replace(drawn(), pixels=told)
    swapped = cc.swap_channels(model).model
    assert swapped.pixels["data"] == cc.Pixels(mean=(123.0, 117.0, 104.0), scale=0.5, order="rgb")
    assert cc.fold_scaling(swapped, (123, 117, 104), 0.5).model.pixels["data"] == cc.Pixels(order="rgb")
    assert cc.fold_scaling(model, (1, 2, 3), 0.5).model.pixels == {}  # another mean than was told: who knows then
    assert cc.join_channels(model).model.pixels == {}  # one channel has no three means
    assert cc.fully_convolutional(model).model.pixels == told


def test_a_classifier_of_another_size_is_to_be_learned_under_another_name():
    made = cc.resize_classifier(drawn(), "fc2", 20).model
    layer = next(layer for layer in made.net.layer if layer.top == ["fc2"])
    assert (layer.name, layer.inner_product_param.num_output) == ("fc2_20", 20)
    assert "fc2" not in made.weights and "fc2_20" not in made.weights and "fc1" in made.weights


PADDED = NET.replace("kernel_size: 3", "kernel_size: 3 pad: 1")
FLAT = NET.replace('bottom: "pool" top: "fc1"', 'bottom: "flat" top: "fc1"').replace(
    'layer { name: "fc1"', 'layer { name: "flat" type: "Flatten" bottom: "pool" top: "flat" } layer { name: "fc1"'
)
SHARED = NET.replace('top: "fc1" inner', 'top: "fc1" param { name: "w" } inner')
SCALE = 'layer { name: "s" type: "Scale" bottom: "data" top: "data" }'
SCALED = NET.replace('layer { name: "conv"', f'{SCALE} layer {{ name: "conv"')


@pytest.mark.parametrize(
    "text, operate, message",
    [
        (PADDED, lambda m: cc.fold_scaling(m, (1, 2, 3)), "layer 'conv' pads its bottom with zeros"),
        (FLAT, cc.fully_convolutional, "layer 'fc1': its bottom 'flat' of shape .* has no height and width"),
        (SHARED, cc.fully_convolutional, "its weights are shared as 'w'"),
        (SCALED, cc.swap_channels, r"layer 's' \(Scale\) reads 'data'; only Convolution"),
        (NET, lambda m: cc.swap_channels(m, (1, 0)), "layer 'conv' reads 3 channels, not 2"),
        (NET, lambda m: cc.swap_channels(m, (0, 0, 1)), "each channel from 0 to 2 must stand there once"),
        (NET, lambda m: cc.swap_channels(m, blob="date"), "has no input 'date'; its inputs: data"),
        (NET, lambda m: cc.resize_classifier(m, "fc3", 5), "has no filters 'fc3'; did you mean"),
        (NET, lambda m: cc.resize_classifier(m, "fc2", 5, "fc1"), "has a layer 'fc1' already"),
        (NET, cc.fully_connected, "has no Convolution whose kernel is its whole bottom"),
    ],
)
def test_what_would_not_be_exact_is_refused(text, operate, message):
    with pytest.raises(cc.CaffeCompatError, match=message):
        operate(drawn(text))


def test_the_certificate_finds_a_rewrite_that_is_not_exact():
    model = drawn()
    wrong = cc.swap_channels(model)
    blobs = wrong.model.weights["conv"]
    wrong.model.weights["conv"] = (blobs[0] * np.float32(1.01), *blobs[1:])
    with pytest.raises(cc.WeightsError, match="blob 'conv' is off by"):
        cc.certify_surgery(model, [wrong])


def test_the_command_does_several_in_order_and_says_what_was_compared(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cc.write_model(drawn(), "net.prototxt", "net.caffemodel")
    words = [
        "surgery",
        "net.prototxt",
        "net.caffemodel",
        "--swap-channels",
        "--fold-mean",
        "4,5,6",
        "--fold-scale",
        "0.5",
    ]
    assert main([*words, "--fully-convolutional", "--classifier", "fc2-conv=9", "--certificate", "c.json"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-3].startswith("3 blobs compared") and printed[-2:] == [
        "Saved as net.surgery.prototxt",
        "Saved as net.surgery.caffemodel",
    ]
    made = cc.read_model("net.surgery.prototxt", "net.surgery.caffemodel")
    assert {layer.name for layer in made.net.layer} >= {"conv", "fc1-conv", "fc2-conv_9"}
    proof = ["--original", "net.prototxt", "--original-weights", "net.caffemodel", "--certificate", "c.json"]
    assert main(["verify", "net.surgery.prototxt", "net.surgery.caffemodel", *proof]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "c.json").read_text())
    assert main(["verify", "net.prototxt", "net.caffemodel", *proof]) == 2
    assert "layer 'fc1' of the net is not what its operations make of the original" in capsys.readouterr().err
    assert main(words) == 2
    assert "net.surgery.prototxt: exists and is kept" in capsys.readouterr().err
    assert main(["surgery", "net.prototxt", "net.caffemodel", "--out", "o.prototxt"]) == 2
    assert "nothing to do" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([*words[:3], "--swap-channels", "a,b", "--out", "o.prototxt"])
    assert "'a': wanted a whole number" in capsys.readouterr().err


OPERATIONS = {
    "swap_channels": lambda m: cc.swap_channels(m, (1, 2, 0)),
    "join_channels": lambda m: cc.join_channels(m, channels=3),
    "fold_scaling": lambda m: cc.fold_scaling(m, np.float32([1.1, 2, 3]), 0.3),
    "fully_convolutional": lambda m: cc.fully_convolutional(m, {"data": (2, 3, 9, 8)}),
    "fully_connected": lambda m: cc.fully_connected(cc.fully_convolutional(m).model),
    "resize_input": lambda m: cc.resize_input(m, (9, 8)),
    "resize_classifier": lambda m: cc.resize_classifier(m, "fc2", 20, "new"),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_certificate_reads_back_and_is_made_anew_from_the_files(name, tmp_path):
    original, made = drawn(), OPERATIONS[name](drawn())
    if name == "fully_connected":
        original = cc.fully_convolutional(original).model
    cc.write_model(made.model, tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
    written = cc.read_model(tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
    certificate = cc.certify_surgery(original, [made])
    certificate.write(tmp_path / "c.json")
    assert cc.read_surgery(tmp_path / "c.json").calls[0][0] == name
    assert cc.verify_surgery(original, written, tmp_path / "c.json") == certificate
    written.weights["conv"] = (1.001 * written.weights["conv"][0], *written.weights["conv"][1:])
    with pytest.raises(cc.WeightsError, match="blob 0 of layer 'conv' is not what its operations make"):
        cc.verify_surgery(original, written, tmp_path / "c.json")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda c: c["layers"]["1"].update(operation="sawp_channels"), "'sawp_channels' is no operation of surgery"),
        (lambda c: c["layers"]["1"].update(order=[0, 0, 1]), "swap_channels cannot be done to the original: order"),
        (lambda c: c["layers"]["1"].update(order="210"), "swap_channels .* to the original: order"),
        (lambda c: c["layers"]["1"].update(order=7), "swap_channels takes no .*damaged"),
        (lambda c: c["layers"]["1"].update(oder=[2, 1, 0]), "swap_channels takes no .*'oder'.*damaged"),
        (lambda c: c["layers"]["1"].update(order=[0, 2, 1]), "blob 0 of layer 'conv' is not what its operations make"),
        (lambda c: c["blobs"].update(conv=0.5), "errors of blobs are not numbers from 0 to 1e-05"),
        (lambda c: c["blobs"].update(conv=None), "errors of blobs are not numbers"),
        (lambda c: c["blobs"].pop("conv"), "blob 'conv' stands in it or among the blobs of the nets"),
        (lambda c: c.pop("blobs"), "errors of blobs are not numbers"),
        (lambda c: c.pop("layers"), "no certificate; give what `surgery` or `prune` wrote"),
        (lambda c: c["layers"].clear(), "no certificate of a surgery"),
    ],
)
def test_a_damaged_certificate_is_refused(change, message, tmp_path):
    original, made = drawn(), cc.swap_channels(drawn())
    certificate = json.loads(str(cc.certify_surgery(original, [made])))
    change(certificate)
    (tmp_path / "c.json").write_text(json.dumps(certificate))
    with pytest.raises(cc.CaffeCompatError, match=f"c.json: .*{message}"):
        cc.verify_surgery(original, made.model, tmp_path / "c.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"layers": 1}', "\x00\xff"])
def test_what_is_no_certificate_is_refused(text, tmp_path):
    (tmp_path / "c.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(cc.DataError, match=r"c.json: .*`surgery` or `prune`"):
        cc.verify_surgery(drawn(), drawn(), tmp_path / "c.json")


@pytest.mark.slow
def test_the_real_googlenet_takes_rgb_and_slides(tmp_path):
    model = cc.read_model(
        shared("models", "googlenet", "deploy.prototxt"), shared("models", "googlenet", "bvlc_googlenet.caffemodel")
    )
    steps = [cc.swap_channels(model)]
    steps.append(cc.fully_convolutional(steps[0].model))
    assert max(cc.certify_surgery(model, steps).blobs.values()) <= 1e-5


def test_another_size_is_one_number_for_each_axis_behind_the_channels(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for size in ((4,), (1, 4, 4), (0, 4)):
        with pytest.raises(cc.GraphError, match="wanted 2 numbers from 1"):
            cc.resize_input(drawn(), size)
    cc.write_model(drawn(), "net.prototxt", "net.caffemodel")
    assert main(["surgery", "net.prototxt", "net.caffemodel", "--input-size", "1,2,3"]) == 2
    assert "size 1,2,3 is none for 'data'" in capsys.readouterr().err
    assert not (tmp_path / "net.surgery.prototxt").exists()


def test_another_size_that_weights_are_not_for_is_refused_and_a_fully_convolutional_net_takes_it():
    model = drawn()
    with pytest.raises(cc.GraphError, match=r"layer 'fc1' .* 13 x 8 would need \(5, 72\) for \(5, 48\); make the net"):
        cc.resize_input(model, (13, 8))
    made = cc.resize_input(cc.fully_convolutional(model).model, (13, 8)).model
    assert cc.Net(made, "TEST").shapes["prob"] == (2, 3, 3, 1)
    with pytest.raises(cc.ShapeError, match="layer 'fc1-conv'"):
        cc.resize_input(made, (4, 8))
    assert cc.resize_input(cc.Model(model.net, {}), (13, 8)).model.net.layer[0].input_param.shape[0].dim == [
        2,
        3,
        13,
        8,
    ]


def test_what_images_went_through_is_kept_where_it_holds_and_said_where_it_is_lost(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for pixels, is_lost in (('"mean": [1, 2, 3], "order": "bgr"', False), ('"mean_file": "m.binaryproto"', True)):
        cc.write_model(drawn(), "net.prototxt", "net.caffemodel")
        text = (tmp_path / "net.prototxt").read_text()
        (tmp_path / "net.prototxt").write_text(f"# pixels of 'data': {{{pixels}}}\n{text}")
        assert main(["surgery", "net.prototxt", "net.caffemodel", "--swap-channels", "--force-overwrite"]) == 0
        assert ("holds no more in these terms, and is left out" in capsys.readouterr().err) == is_lost
        assert ("data" in cc.read_model("net.surgery.prototxt").pixels) != is_lost
