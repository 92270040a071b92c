"""HardSigmoid against its formula, value by value, under the names of both forks' messages."""

import pytest
import torch

from caffe_compat.errors import UnsupportedParameterError
from tests.layers.single import build


@pytest.mark.parametrize(
    ("fields", "alpha", "beta"),
    [
        ("", 0.2, 0.5),
        ("hard_sigmoid_param { alpha: 0.25 }", 0.25, 0.5),
        ("hardsigmoid_param { alpha: 0.5 beta: 0.125 }", 0.5, 0.125),
        ("hard_sigmoid_param { alpha: -0.5 beta: 0.25 }", -0.5, 0.25),
        ("hard_sigmoid_param { alpha: 0 beta: 0.75 }", 0.0, 0.75),
    ],
)
def test_hard_sigmoid_is_a_line_cut_off_at_0_and_1(fields: str, alpha: float, beta: float) -> None:
    x = torch.linspace(-6, 6, 49, dtype=torch.float64, requires_grad=True)
    y = build(f'type: "HardSigmoid" {fields}', (49,))(x)
    lines = [alpha * value + beta for value in x.tolist()]
    assert y.tolist() == pytest.approx([max(0.0, min(1.0, line)) for line in lines], abs=1e-7)
    y.sum().backward()
    assert x.grad is not None
    slopes = [alpha if 1e-6 < line < 1 - 1e-6 else 0.0 for line in lines]
    assert x.grad.tolist() == pytest.approx(slopes, abs=1e-7)


def test_messages_of_two_forks_are_one_too_many() -> None:
    with pytest.raises(UnsupportedParameterError, match="hard_sigmoid_param and hardsigmoid_param are both given"):
        build('type: "HardSigmoid" hard_sigmoid_param {} hardsigmoid_param {}', (2,))
