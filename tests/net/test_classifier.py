"""Classifier: image files in, scores out, on nets small enough to compute by hand."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from caffe_compat.data.crops import Preprocessing
from caffe_compat.errors import DataError, GraphError, ShapeError
from caffe_compat.net.classifier import Classifier, own_preprocessing
from caffe_compat.net.net import Net
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text

cv2 = pytest.importorskip("cv2")

INPUT = 'layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 10 dim: 3 dim: 4 dim: 4 } } }'
# the mean of each channel: a net whose scores say which colour an image has
MEANS = """layer { name: "pool" type: "Pooling" bottom: "data" top: "scores"
                   pooling_param { pool: AVE global_pooling: true } }"""


def made(text: str, preprocessing: Preprocessing | None = None, **options: str) -> Classifier:
    return Classifier(Net(parse_text('name: "n" ' + text, NetParameter)), preprocessing, **options)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """70 images (more than two passes), of 5 x 6, image k of one colour: blue k, green 2 k, red 3 k."""
    paths = [tmp_path / f"{number:02d}.png" for number in range(70)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((5, 6, 3), (number, 2 * number, 3 * number), np.uint8))
    return paths


@pytest.mark.parametrize("oversample", [False, True])
def test_every_image_gets_its_own_scores_in_order(images: list[Path], oversample: bool) -> None:
    classifier = made(INPUT + MEANS, Preprocessing((5, 6), np.array([1, 2, 3], np.float32), 2, oversample=oversample))
    found = list(classifier.predict(images))
    assert [prediction.path for prediction in found] == images
    for number, prediction in enumerate(found):
        wanted = [2 * (number - 1), 2 * (2 * number - 2), 2 * (3 * number - 3)]
        np.testing.assert_allclose(prediction.scores, wanted, rtol=1e-6)


def test_the_largest_scores_come_first_and_of_equal_ones_the_lower_class(images: list[Path]) -> None:
    bgr = next(made(INPUT + MEANS, Preprocessing()).predict(images[7:]))
    assert bgr.top(2) == [(2, 21), (1, 14)]
    black = next(made(INPUT + MEANS, Preprocessing()).predict(images))
    assert black.top(9) == [(0, 0), (1, 0), (2, 0)]


def test_a_net_of_one_channel_sees_grey(images: list[Path]) -> None:
    grey = next(made((INPUT + MEANS).replace("dim: 3", "dim: 1"), Preprocessing()).predict(images[50:]))
    # ITU-R BT.601, as OpenCV has it
    assert grey.scores == pytest.approx([round(0.114 * 50 + 0.587 * 100 + 0.299 * 150)])


def test_a_net_for_training_says_its_own_scale_and_mean_and_needs_no_labels(images: list[Path]) -> None:
    source = """layer { name: "in" type: "DummyData" top: "data" top: "label"
        dummy_data_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } shape { dim: 2 } }
        transform_param { mean_value: 1 mean_value: 2 mean_value: 3 scale: 0.5 } }"""
    loss = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "label" top: "loss" }'
    classifier = made(source + MEANS + loss)
    assert own_preprocessing(classifier.net).scale == 0.5
    assert classifier.output == "scores"
    np.testing.assert_allclose(next(classifier.predict(images[9:])).scores, [4, 8, 12])
    assert own_preprocessing(classifier.net, with_mean=False) == Preprocessing(scale=0.5)


def test_an_image_that_cannot_be_read_is_named_or_left_out(
    images: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    images[40].write_bytes(images[40].read_bytes()[:60])
    with pytest.raises(DataError, match=r"40\.png: the image cannot be decoded; its file ends early"):
        list(made(INPUT + MEANS).predict(images))
    with caplog.at_level(logging.WARNING, "caffe_compat"):
        assert len(list(made(INPUT + MEANS).predict(images, skip_bad=True))) == 69
    assert "skipped: " in caplog.text and "40.png" in caplog.text


def error_of(kind: type[Exception], *arguments: object, **options: str) -> str:
    with pytest.raises(kind) as caught:
        made(*arguments, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nets_that_do_not_classify_images_are_refused() -> None:
    two = MEANS + MEANS.replace('"pool"', '"again"').replace('"scores"', '"more"')
    assert error_of(GraphError, INPUT + two) == "net 'n' has 2 outputs: more, scores; choose one as output"
    assert made(INPUT + two, output="more").output == "more"
    assert error_of(GraphError, INPUT + MEANS, output="prob") == "net 'n' has no output 'prob'; its outputs: scores"
    flat = INPUT.replace("dim: 4 dim: 4", "")
    relu = 'layer { name: "relu" type: "ReLU" bottom: "data" top: "scores" }'
    assert error_of(ShapeError, flat + relu) == "input 'data' is (10, 3); images are (batch, 1 or 3, height, width)"
    assert error_of(ShapeError, INPUT + relu) == (
        "output 'scores' is (1, 3, 4, 4) for one image; to classify, a net gives one score a class"
    )
    wrong = Preprocessing(mean=np.zeros(2, np.float32))
    assert error_of(DataError, INPUT + MEANS, wrong) == "the mean has 2 channels, the net takes 3"
