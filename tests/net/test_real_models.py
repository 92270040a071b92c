"""Trained models in deploy form against what a real Caffe gave for seeded noise (README.md beside the models)."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_compat.net.net import Net
from caffe_compat.proto.model import read_model
from tests.conftest import shared

TOLERANCE = 1e-5  # of the largest value, as the models' README has it

MODELS = {
    "cifar10_full_h5": ("cifar10_full.prototxt", "cifar10_full_iter_100000.caffemodel.h5", "expected.npz"),
    "cifar10_full_v1": ("cifar10_full.prototxt", "cifar10_full_iter_70000.caffemodel", "expected.npz"),
    "cifar10_quick_v1": ("cifar10_quick.prototxt", "cifar10_quick_iter_5000.caffemodel", "expected.npz"),
    "googlenet": ("deploy.prototxt", "bvlc_googlenet.caffemodel", "expected.npz"),
    "lenet": ("lenet.prototxt", "lenet_iter_10000.caffemodel", "expected.npz"),
    "mtcnn/det1": ("det1.prototxt", "det1.caffemodel", "det1_expected.npz"),
    "mtcnn/det2": ("det2.prototxt", "det2.caffemodel", "det2_expected.npz"),
    "mtcnn/det3": ("det3.prototxt", "det3.caffemodel", "det3_expected.npz"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_trained_model_gives_what_caffe_gave(name: str) -> None:
    folder = shared("models", name.split("/")[0])
    prototxt, weights, record = MODELS[name]
    expected = np.load(folder / record)
    net = Net(read_model(folder / prototxt, folder / weights))
    assert not net.load_report.missing

    random = np.random.RandomState(7)
    inputs = {
        blob: (random.standard_normal(expected[f"input_{blob}"]) * 40).astype(np.float32) for blob in net.input_names
    }
    outputs = net(**inputs)
    assert {f"output_{blob}" for blob in outputs} == {key for key in expected.files if key.startswith("output_")}
    for blob, value in outputs.items():
        wanted = expected[f"output_{blob}"]
        assert value.shape == wanted.shape
        assert np.abs(value.detach().numpy() - wanted).max() <= TOLERANCE * np.abs(wanted).max(), blob
