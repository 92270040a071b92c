"""Layers whose top has the shape of their bottom: formulas, gradients in float64, memory layout, refused parameters."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import UnsupportedParameterError
from tests.layers.single import build
from tests.reference.elementwise import FORMULAS

SHAPE = (2, 3, 5, 4)


@pytest.mark.parametrize("name", FORMULAS)
def test_each_element_follows_the_formula(name: str) -> None:
    text, formula = FORMULAS[name]
    x = 3 * torch.randn(SHAPE, dtype=torch.float64)
    y = build(text, SHAPE)(x)
    wanted = torch.tensor([formula(value) for value in x.flatten().tolist()], dtype=torch.float64).view(SHAPE)
    torch.testing.assert_close(y, wanted, rtol=1e-7, atol=1e-7)  # parameters such as 0.3 are float32 in the message


@pytest.mark.parametrize("name", FORMULAS)
def test_the_gradient_is_the_derivative(name: str) -> None:
    layer = build(FORMULAS[name][0], SHAPE)
    bottom = torch.randn(SHAPE, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(layer, bottom, fast_mode=True)


@pytest.mark.parametrize("name", FORMULAS)
def test_channels_last_stays_channels_last_and_the_bottom_as_it_was(name: str) -> None:
    x = torch.randn(SHAPE).contiguous(memory_format=torch.channels_last)
    before = x.clone()
    y = build(FORMULAS[name][0], SHAPE)(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('type: "Exp" exp_param { base: 0 }', "layer 'lay': exp_param.base is 0; it must be positive"),
        ('type: "Log" log_param { base: -2 }', "layer 'lay': log_param.base is -2; it must be positive"),
        ('type: "Log" log_param { base: 1 }', "layer 'lay': log_param.base is 1"),
        ('type: "Clip"', "layer 'lay': clip_param.min is missing"),
    ],
)
def test_bad_parameters_are_named(text: str, message: str) -> None:
    with pytest.raises(UnsupportedParameterError, match=message.replace("(", r"\(")):
        build(text, (2, 3))
