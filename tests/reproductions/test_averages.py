from __future__ import annotations

import numpy as np
import torch

import caffe_compat as cc
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text
from reproductions.averages import lightened

NET = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 8 dim: 3 dim: 4 dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 3 kernel_size: 1 } }
layer { name: "bn" type: "BatchNorm" bottom: "c" top: "y" }
"""
BLOBS = {
    "conv": (np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), np.zeros(3, np.float32)),
    "bn": (np.float32([1000, 2000, -500]), np.float32([4000, 1000, 500]), np.float32([1000])),
}


def test_the_same_net_whose_averages_follow_twenty_batches() -> None:
    model = cc.Model(parse_text(NET, NetParameter), BLOBS)
    light = lightened(model)
    x = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(1)) + 7
    with torch.no_grad():
        before, after = (cc.Net(each, phase="TEST")(x)["y"] for each in (model, light))
    torch.testing.assert_close(after, before)
    averages = []
    for each in (model, light):
        net = cc.Net(each, phase="TRAIN")
        for _ in range(20):
            net(x)
        mean, _, count = net.weights()["bn"]
        averages.append(mean / count)
    wanted = x.mean((0, 2, 3)).numpy()
    # of the old average is left 0.98 / (0.98 + 19.8) beside 980 / (980 + 19.8): 0.048 of it
    assert np.abs(averages[1] - wanted).max() < 0.06 * np.abs(averages[0] - wanted).max()


def test_statistics_that_are_none_stay() -> None:
    empty = {**BLOBS, "bn": tuple(np.zeros_like(blob) for blob in BLOBS["bn"])}
    found = lightened(cc.Model(parse_text(NET, NetParameter), empty))
    for blob in found.weights["bn"]:
        np.testing.assert_array_equal(blob, 0)
