"""Trained models of others, scored on all test images through `caffe-compat test` with their own prototxt.

The accuracies are those of the table beside the models (shared: models/README.md), each given in percent to two
decimals. They are held within 0.05 points, 5 of 10,000 images: which of two nearly equal scores is the larger one may
depend on the order of a sum.
"""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import caffe_compat as cc
from caffe_compat.commands import main
from caffe_compat.data.datasets import read_idx
from tests.conftest import shared

pytestmark = pytest.mark.slow

POINTS = 0.05

# folder, prototxt, weights, the folder in which the prototxt's paths hold, percent
SCORED = [
    ("cifar10_full_v1", "cifar10_full_train_test.prototxt", "cifar10_full_iter_70000.caffemodel", ".", 82.11),
    ("cifar10_full_v1", "cifar10_full_train_test.prototxt", "cifar10_full_iter_60000.caffemodel", ".", 79.42),
    ("cifar10_full_h5", "cifar10_full_train_test.prototxt", "cifar10_full_iter_100000.caffemodel.h5", ".", 82.18),
    ("cifar10_quick_v1", "cifar10_quick_train_test.prototxt", "cifar10_quick_iter_5000.caffemodel", ".", 74.91),
    (
        "resnet20_cifar10",
        "res20_cifar_train_test.prototxt",
        "cifar10_res20_iter_64000.caffemodel",
        "examples/cifar10/resnet20",
        91.81,
    ),
    ("lenet_v1", "lenet.prototxt", "lenet.caffemodel", ".", 99.04),
]


@pytest.mark.parametrize(
    ("folder", "prototxt", "weights", "inside", "percent"), SCORED, ids=[f"{row[0]}-{row[4]}" for row in SCORED]
)
def test_a_trained_model_scores_what_its_readme_says(
    folder: str,
    prototxt: str,
    weights: str,
    inside: str,
    percent: float,
    caffe_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = shared("models", folder)
    (caffe_root / inside).mkdir(exist_ok=True)
    monkeypatch.chdir(caffe_root / inside)
    words = ["--model", str(model / prototxt), "--weights", str(model / weights), "--iterations", "100"]
    assert main(["test", *words]) == 0
    mean = re.findall(r"\] (?:accuracy|Accuracy1) = (\S+)", capsys.readouterr().err)[-1]
    assert 100 * float(mean) == pytest.approx(percent, abs=POINTS)


def test_lenet_which_has_a_deploy_net_only_scores_what_its_readme_says(published: Path) -> None:
    folder = shared("models", "lenet")
    net = cc.Net(cc.read_model(folder / "lenet.prototxt", folder / "lenet_iter_10000.caffemodel"))
    images, labels = (
        read_idx(name, (published / "mnist" / name).read_bytes())
        for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    )
    pixels = torch.from_numpy(images[:, None].astype(np.float32) / 256)  # the scale with which LeNet was trained
    with torch.inference_mode():
        scores = torch.cat([net(data=batch)["prob"] for batch in pixels.split(100)])
    right = (scores.argmax(1).numpy() == labels).mean()
    assert 100 * right == pytest.approx(99.14, abs=POINTS)
