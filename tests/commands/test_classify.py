"""`caffe-compat classify` from image files to a table and JSON, on a net that tells blue, green and red apart."""

import json
from pathlib import Path

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main

cv2 = pytest.importorskip("cv2")

NET = """
name: "Colours"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 10 dim: 3 dim: 8 dim: 8 } } }
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" pooling_param { pool: AVE global_pooling: true } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
COLOURS = {"blue.png": (200, 20, 20), "green.png": (20, 200, 20), "red.png": (20, 20, 200)}
TRAINED = ["--model", "net.prototxt", "--weights", "net.caffemodel"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    weights = {"ip": (np.eye(3, dtype=np.float32) / 100, np.zeros(3, np.float32))}
    cc.write_model(cc.Model(cc.read_net("net.prototxt"), weights), "net.prototxt", "net.caffemodel")
    Path("labels.txt").write_text("l0 blue\nl1 green\nl2 red\n")
    Path("photographs").mkdir()
    for name, colour in COLOURS.items():
        cv2.imwrite(f"photographs/{name}", np.full((12, 16, 3), colour, np.uint8))
    return tmp_path


def test_a_folder_becomes_a_table_with_the_best_classes_of_every_image(folder, capsys):
    assert main(["classify", *TRAINED, "--labels", "labels.txt", "--top", "2", "photographs"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows[::3]] == [f"photographs/{name}" for name in COLOURS]
    high, low = np.exp([2, 0.2]) / (np.exp(2) + 2 * np.exp(0.2))  # the means of the channels over 100, then softmax
    assert rows[1] == [f"{high:.4f}", "0", "l0", "blue"]
    assert rows[5] == [f"{low:.4f}", "0", "l0", "blue"]
    assert rows[7] == [f"{high:.4f}", "2", "l2", "red"]


def classes(words, capsys):
    assert main(["classify", *TRAINED, "--json", *words]) == 0
    return [[each["class"] for each in row["top"]] for row in json.loads(capsys.readouterr().out)]


def test_json_has_image_class_label_and_score(folder, capsys):
    words = ["--labels", "labels.txt", "--mean", "20", "--scale", "0.5", "--top", "1", "--json", "photographs/red.png"]
    assert main(["classify", *TRAINED, *words]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    score = row["top"][0].pop("score")
    assert row == {"image": "photographs/red.png", "top": [{"class": 2, "label": "l2 red"}]}
    assert score == pytest.approx(np.exp(0.9) / (np.exp(0.9) + 2))


def test_options_change_what_the_net_sees(folder, capsys):
    assert classes(["photographs/blue.png", "--oversample", "--size", "10"], capsys) == [[0, 1, 2]]
    assert classes(["photographs/blue.png", "--channel-order", "rgb"], capsys)[0][0] == 2
    assert classes(["photographs/blue.png", "--mean", "190,0,0"], capsys) == [[1, 2, 0]]
    cc.write_blob("mean.binaryproto", np.full((1, 3, 12, 12), 190, np.float32) * np.eye(3)[0].reshape(1, 3, 1, 1))
    assert classes(["photographs/blue.png", "--mean", "mean.binaryproto"], capsys) == [[1, 2, 0]]


def test_a_backend_gives_the_same_scores(folder, capsys):
    pytest.importorskip("onnxruntime")
    plain = classes(["photographs"], capsys)
    there = classes(["photographs", "--backend", "onnxruntime"], capsys)
    assert plain == there and plain


def test_what_was_done_to_the_pixels_is_said(folder, capsys):
    main(["classify", *TRAINED, "--mean", "104,117,123", "--size", "10", "--oversample", "photographs"])
    said = "images: resized to a shorter side of 10, 10 crops of 8x8, BGR, mean 104,117,123, scale 1\n"
    assert capsys.readouterr().err == said


def test_without_a_mean_its_absence_is_said(folder, capsys):
    assert main(["classify", *TRAINED, "photographs"]) == 0
    assert capsys.readouterr().err.endswith(
        "mean, scale 1\nno mean is subtracted; most nets were trained with one: --mean says which\n"
    )
    assert main(["classify", *TRAINED, "--mean", "0", "photographs"]) == 0
    assert "no mean" not in capsys.readouterr().err


def test_a_net_for_training_needs_neither_its_data_nor_its_mean_when_these_are_given(folder, capsys):
    data = """layer { name: "data" type: "Data" top: "data" top: "label" data_param { source: "db" backend: LMDB }
              transform_param { scale: 0.5 mean_file: "gone.binaryproto" } }"""
    Path("net.prototxt").write_text("\n".join(data if '"Input"' in line else line for line in NET.splitlines()))
    shapes = ["--input", "data=1,3,8,8", "--input", "label=1", "--mean", "20"]
    assert classes([*shapes, "photographs/green.png"], capsys) == [[1, 0, 2]]
    assert main(["classify", *TRAINED, *shapes, "photographs"]) == 0
    assert "mean 20, scale 0.5" in capsys.readouterr().err


def test_bad_images_are_skipped_and_counted_on_request(folder, capsys):
    Path("photographs/broken.jpg").write_bytes(b"no image")
    assert main(["classify", *TRAINED, "--json", "--skip-bad", "photographs"]) == 0
    printed = capsys.readouterr()
    assert len(json.loads(printed.out)) == 3
    assert printed.err.endswith("1 of 4 images skipped\n")


BAD = {
    "photographs/gone.png": "photographs/gone.png: no such image or folder",
    "labels.txt": "labels.txt: the image cannot be decoded; it is damaged, or of a kind OpenCV does not know",
    "photographs --top 0": "--top 0: must be 1 or more",
    "photographs --size 8x8": "argument --size: '8x8' is not of the form 256 or 256,340 (height,width)",
    "photographs --size 0": "argument --size: '0' is not of the form 256 or 256,340 (height,width)",
    "photographs --size 4": "photographs/blue.png: is 4x5 once resized, the net takes 8x8; give a larger size",
    "photographs --mean 1,2": "the mean has 2 channels, the net takes 3",
    "photographs --mean gone.npy": "--mean gone.npy: no such file, and not of the form 104,117,123",
    "photographs --labels two.txt": "two.txt: 2 labels, but the net has 3 classes",
    "photographs --output conv": "net 'Colours' has no output 'conv'; its outputs: prob",
    "photographs --weights other.caffemodel": "other.caffemodel: has no weights for layer 'ip'",
}


@pytest.mark.parametrize("words", BAD)
def test_wrong_use_is_one_line_that_says_what_is_wrong(folder, capsys, words):
    cc.write_model(cc.Model(cc.read_net("net.prototxt"), {}), "other.prototxt", "other.caffemodel")
    Path("two.txt").write_text("blue\ngreen\n")
    with pytest.raises(SystemExit) as stop:
        raise SystemExit(main(["classify", *TRAINED, *words.split()]))
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(("images: ", "no mean is "))]
    assert stop.value.code == 2
    assert len(lines) == 1 and lines[0].startswith(f"caffe-compat: {BAD[words]}")


@pytest.mark.parametrize("missing", ["--model", "--weights", "IMAGE"])
def test_what_is_needed_is_named(folder, capsys, missing):
    words = {"--model": [*TRAINED[2:], "photographs"], "--weights": [*TRAINED[:2], "photographs"], "IMAGE": TRAINED}
    with pytest.raises(SystemExit) as stop:
        raise SystemExit(main(["classify", *words[missing]]))
    assert stop.value.code == 2
    assert missing in capsys.readouterr().err


def test_a_mean_that_is_not_here_and_a_choice_of_outputs_are_told_with_their_options(folder, capsys):
    text = Path("net.prototxt").read_text()
    Path("net.prototxt").write_text(f'# pixels of \'data\': {{"mean_file": "gone.binaryproto"}}\n{text}')
    assert main(["classify", *TRAINED, "photographs"]) == 2
    assert "correct the path" in (line := capsys.readouterr().err) and "or give the mean: --mean FILE" in line
    assert main(["classify", *TRAINED, "--mean", "1", "photographs"]) == 0
    two = 'layer { name: "more" type: "Split" bottom: "ip" top: "more" }\n'
    Path("net.prototxt").write_text(text + two)
    capsys.readouterr()
    status = main(["classify", *TRAINED, "photographs"])
    error = capsys.readouterr().err
    assert status == 2 and "choose one: --output NAME" in error


def test_data_and_mean_that_are_not_here_are_told_with_the_options_that_stand_for_them(folder, capsys):
    data = """layer { name: "data" type: "Data" top: "data" top: "label" data_param { source: "db" batch_size: 2 }
              transform_param { mean_file: "gone.binaryproto" } }"""
    Path("net.prototxt").write_text("\n".join(data if '"Input"' in line else line for line in NET.splitlines()))
    assert main(["classify", *TRAINED, "photographs"]) == 2
    told = "; or tell the shapes: --input data=N,C,H,W --input label=N, and the mean by --mean"
    assert told in capsys.readouterr().err


def test_a_mean_image_of_another_size_is_said_to_be_resized(folder, capsys):
    for size, said in (((12, 10), "a mean image resized from 12x10, scale"), ((8, 8), "a mean image, scale")):
        cc.write_blob("mean.binaryproto", np.ones((1, 3, *size), np.float32))
        assert main(["classify", *TRAINED, "--mean", "mean.binaryproto", "photographs"]) == 0
        assert said in capsys.readouterr().err
