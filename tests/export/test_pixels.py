"""Mean, scale and channel order outlive the data layer: as a comment, as metadata, for classify, or in the net."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import caffe_compat as cc
from caffe_compat.commands import main
from caffe_compat.proto.pixels import Pixels, read_pixels

NET = """
name: "n"
layer { name: "data" type: "ImageData" top: "data" top: "label"
  transform_param { TRANSFORM } image_data_param { source: "list.txt" batch_size: 2 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 3 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param { num_output: 4 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
TRANSFORMS = {
    "channels": "scale: 0.017 mean_value: 104 mean_value: 117.5 mean_value: 123",
    "one value": "scale: 0.00390625 mean_value: 127.5 crop_size: 8",
    "scale alone": "scale: 0.00390625",
    "mean alone": "mean_value: 104 mean_value: 117 mean_value: 123",
    "mean image": 'scale: 0.5 mean_file: "mean.binaryproto"',
    "mean image and crop": 'scale: 0.017 mean_file: "mean.binaryproto" crop_size: 7',
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two images of 10 x 9, their list and a mean image; `write(transform)` gives net.prototxt and net.caffemodel."""
    cv2 = pytest.importorskip("cv2")
    monkeypatch.chdir(tmp_path)
    random = np.random.RandomState(0)
    for number in range(2):
        cv2.imwrite(f"{number}.png", random.randint(0, 256, (10, 9, 3), dtype=np.uint8))
    (tmp_path / "list.txt").write_text("0.png 1\n1.png 3\n")
    cc.write_blob("mean.binaryproto", random.uniform(90, 130, (1, 3, 10, 9)).astype(np.float32))

    def write(transform):
        net = cc.parse_text(NET.replace("TRANSFORM", transform), cc.NetParameter)
        torch.manual_seed(0)
        weights = {name: tuple(0.01 * random.standard_normal(blob.shape).astype(np.float32) for blob in blobs)
                   for name, blobs in cc.Net(net).weights().items()}  # fmt: skip
        cc.write_model(cc.Model(net, weights), "net.prototxt", "net.caffemodel")
        return cv2

    return write


def centre(images, size):
    if not size:
        return images
    top, left = (images.shape[2] - size) // 2, (images.shape[3] - size) // 2
    return images[:, :, top : top + size, left : left + size]


@pytest.mark.parametrize("kind", TRANSFORMS)
def test_the_net_with_its_preprocessing_takes_pixels_and_gives_what_the_data_layer_led_to(kind, folder, capsys):
    cv2 = folder(TRANSFORMS[kind])
    words = ["deploy", "net.prototxt", "--weights", "net.caffemodel", "--out", "d.prototxt"]
    assert main([*words, "--out-weights", "d.caffemodel", "--with-preprocessing"]) == 0
    trained = cc.Net(cc.read_model("net.prototxt", "net.caffemodel"))
    batch = trained.next_values()
    wanted = torch.softmax(trained.blobs(**batch)["ip"], 1).detach().numpy()
    size = 8 if kind == "one value" else 7 if kind == "mean image and crop" else 0
    images = np.stack([cv2.imread(f"{number}.png").transpose(2, 0, 1) for number in range(2)]).astype(np.float32)
    net = cc.Net(cc.read_model("d.prototxt", "d.caffemodel"))
    blobs = net.blobs(data=centre(images, size))
    prepared = next(layer.bottom[0] for layer in net.param.layer if layer.name == "conv")
    np.testing.assert_array_equal(blobs[prepared].detach().numpy(), batch["data"].numpy())
    np.testing.assert_allclose(blobs["prob"].detach().numpy(), wanted, rtol=1e-6)
    assert read_pixels(Path("d.prototxt").read_text()) == {"data": Pixels()}
    said = capsys.readouterr().err
    assert "input 'data' takes " in said and "comment" not in said


@pytest.mark.parametrize("kind", TRANSFORMS)
def test_a_comment_keeps_it_and_is_read_back_and_said(kind, folder, capsys):
    folder(TRANSFORMS[kind])
    assert main(["deploy", "net.prototxt", "--out", "d.prototxt"]) == 0
    assert ", kept as a comment; --with-preprocessing puts that into the net" in capsys.readouterr().err
    fields = cc.read_net("net.prototxt").layer[0].transform_param
    pixels = cc.read_model("d.prototxt").pixels["data"]
    assert np.float32(pixels.scale) == np.float32(fields.scale)
    assert pixels.mean == tuple(fields.mean_value) and pixels.mean_file == fields.mean_file and pixels.order == "bgr"
    cc.write_model(cc.read_model("d.prototxt"), "again.prototxt")
    assert Path("again.prototxt").read_text() == Path("d.prototxt").read_text()


def test_onnx_and_pt2_have_it_as_metadata(folder, capsys):
    onnx = pytest.importorskip("onnx")
    folder(TRANSFORMS["channels"])
    words = ["deploy", "net.prototxt", "--weights=net.caffemodel", "--out=d.prototxt", "--out-weights=d.caffemodel"]
    assert main(words) == 0
    capsys.readouterr()
    assert main(["export", "d.prototxt", "d.caffemodel", "--out", "d.onnx", "--no-check"]) == 0
    assert "input 'data' takes pixels from 0 to 255, channels bgr, minus mean 104,117.5,123" in capsys.readouterr().err
    told = {entry.key: json.loads(entry.value) for entry in onnx.load("d.onnx").metadata_props}
    assert told == {"pixels of data": {"order": "bgr", "mean": [104, 117.5, 123], "scale": 0.017}}
    cc.write_exported_program(cc.read_model("d.prototxt", "d.caffemodel"), "d.pt2")
    files = {"pixels.json": ""}
    torch.export.load("d.pt2", extra_files=files)
    assert json.loads(files["pixels.json"])["data"]["mean"] == [104, 117.5, 123]


def test_an_onnx_file_with_its_preprocessing_takes_pixels(folder):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    cv2 = folder(TRANSFORMS["mean image and crop"])
    words = ["deploy", "net.prototxt", "--weights=net.caffemodel", "--out=d.prototxt", "--out-weights=d.caffemodel"]
    assert main(words) == 0
    assert main(["export", "d.prototxt", "d.caffemodel", "--out", "d.onnx", "--with-preprocessing"]) == 0
    pixels = centre(cv2.imread("0.png").transpose(2, 0, 1)[None].astype(np.float32), 7)
    (found,) = runtime.InferenceSession("d.onnx").run(None, {"data": pixels})
    trained = cc.Net(cc.read_model("net.prototxt", "net.caffemodel"))
    wanted = torch.softmax(trained.blobs(**trained.next_values())["ip"], 1).detach().numpy()[:1]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_classify_takes_it_from_the_comment(folder, capsys):
    folder("scale: 0.017 mean_value: 104 mean_value: 117.5 mean_value: 123")
    words = ["deploy", "net.prototxt", "--weights=net.caffemodel", "--out=d.prototxt", "--out-weights=d.caffemodel"]
    assert main(words) == 0
    capsys.readouterr()
    assert main(["classify", "--model=d.prototxt", "--weights=d.caffemodel", "--json", "--top=4", "0.png"]) == 0
    printed = capsys.readouterr()
    assert "mean 104,117.5,123, scale 0.017" in printed.err and "no mean is subtracted" not in printed.err
    trained = cc.Net(cc.read_model("net.prototxt", "net.caffemodel"))
    wanted = torch.softmax(trained.blobs(**trained.next_values())["ip"], 1)[0].tolist()
    found = {entry["class"]: entry["score"] for entry in json.loads(printed.out)[0]["top"]}
    assert [found[number] for number in range(4)] == pytest.approx(wanted, rel=1e-5)


def test_decomposed_and_regrouped_nets_keep_it(folder):
    folder(TRANSFORMS["channels"])
    made = cc.deploy(cc.read_model("net.prototxt", "net.caffemodel"))
    assert cc.decompose(made, {"conv": 2}).pixels == made.pixels == cc.split_groups(made).pixels != {}


@pytest.mark.parametrize(
    "transform, words, said",
    [
        ("scale: 2", [], "--with-preprocessing: mean and scale become weights; give --out-weights FILE"),
        ('mean_file: "gone"', ["--out-weights=d"], "input 'data': 'gone' is not at"),
        ("mean_value: 1 mean_value: 2", ["--out-weights=d", "--shape=data=1,3,10,9"], "2 mean values for 3 channels"),
        ('mean_file: "mean.binaryproto"', ["--out-weights=d", "--shape=data=1,3,4,4"], "the mean image is (3, 10, 9)"),
        ('mean_file: "mean.binaryproto" crop_size: 64', ["--out-weights=d"], "smaller than the crop of 64"),
    ],
)
def test_what_cannot_go_into_the_net_is_said(transform, words, said, folder, capsys, tmp_path):
    folder("scale: 1")
    (tmp_path / "net.prototxt").write_text(NET.replace("TRANSFORM", transform))
    before = {path.name for path in tmp_path.iterdir()}
    command = ["deploy", "net.prototxt", "--weights=net.caffemodel", "--out=d.prototxt", "--with-preprocessing"]
    assert main([*command, *words, *([] if "--shape" in str(words) else ["--shape=data=1,3,10,9"])]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_net_of_whose_pixels_nothing_is_known_is_refused():
    net = cc.parse_text('layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } } }', cc.NetParameter)
    with pytest.raises(cc.GraphError, match="nothing is known of its pixels"):
        cc.with_preprocessing(cc.Model(net))


def test_lines_that_say_something_else_are_passed_over():
    text = "# pixels of 'a': {\"mean\": 3}\n# pixels of 'b': {bad}\n# pixels of 'c': {\"scale\": 2}\nname: \"n\"\n"
    assert read_pixels(text) == {"c": Pixels(scale=2.0)}


def test_a_net_that_still_has_its_data_layer_is_said_and_to_be_deployed_first(folder, capsys, tmp_path):
    pytest.importorskip("onnx")
    folder("scale: 0.5")
    (tmp_path / "bare.prototxt").write_text("".join(NET.replace("TRANSFORM", "scale: 0.5").splitlines(True)[:-1]))
    words = ["export", "bare.prototxt", "net.caffemodel", "--out", "bare.onnx"]
    assert main([*words, "--with-preprocessing"]) == 2
    assert "a data layer makes 'data'; deploy the net first" in capsys.readouterr().err
    assert main(words) == 0
    assert "input 'data' takes pixels from 0 to 255, channels bgr, no mean, times 0.5" in capsys.readouterr().err
