"""Angles between filters, against a loop over the pairs."""

import math

import numpy as np
import pytest
import torch

from caffe_compat.solver.filters import filter_angles


def test_angles_are_those_of_every_pair():
    weight = np.random.RandomState(0).standard_normal((5, 2, 3, 2)).astype(np.float32)
    rows = weight.reshape(5, -1).astype(float)
    pairs = [
        math.degrees(math.acos(sum(rows[i] * rows[j]) / math.sqrt(sum(rows[i] ** 2) * sum(rows[j] ** 2))))
        for i in range(5)
        for j in range(i + 1, 5)
    ]
    found = filter_angles(torch.from_numpy(weight))
    wanted = {"mean": np.mean(pairs), "std": np.std(pairs), "min": min(pairs), "max": max(pairs)}
    assert found == pytest.approx(wanted, rel=1e-9)


def test_right_and_opposite_angles():
    weight = torch.tensor([[2.0, 0.0], [0.0, 0.5], [-3.0, 0.0]])
    found = filter_angles(weight)
    assert (found["min"], found["max"], found["mean"]) == pytest.approx((90, 180, 120))


def test_filters_without_length_do_not_count():
    assert filter_angles(torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]]))["mean"] == pytest.approx(45)
    assert filter_angles(torch.tensor([[1.0, 0.0], [0.0, 0.0]])) == {}
