"""Softplus against the C library's functions in float32, as its fork calls them."""

import math

import numpy as np
import pytest
import torch

from tests.layers.single import build


def test_softplus_is_the_forks_formula_with_its_ends() -> None:
    x = [-200.0, -20.0, -3.5, 0.0, 0.25, 4.0, 80.0, 88.5, 89.0, 200.0]
    with np.errstate(over="ignore"):
        wanted = [float(np.log(np.exp(np.float32(value)) + np.float32(1))) for value in x]
    assert build('type: "Softplus"', (len(x),))(torch.tensor(x)).tolist() == pytest.approx(wanted, rel=3e-7)
    assert wanted[:2] == [0, 0] and wanted[-2:] == [math.inf, math.inf]


def test_the_gradient_is_the_logistic_function_where_the_top_is_infinite_too() -> None:
    x = torch.tensor([-300.0, -1.0, 0.0, 2.0, 300.0], requires_grad=True)
    build('type: "Softplus"', (5,))(x).backward(torch.ones(5))
    assert x.grad is not None
    assert x.grad.tolist() == pytest.approx([0, 1 / (1 + math.e), 0.5, 1 / (1 + math.exp(-2)), 1], abs=1e-6)
