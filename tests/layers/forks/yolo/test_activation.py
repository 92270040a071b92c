"""ReLU6 and Mish against their formulas."""

import math

import pytest
import torch

from tests.layers.single import build

X = torch.linspace(-8, 8, 65, dtype=torch.float64)


def test_mish_is_as_published() -> None:
    wanted = [v * math.tanh(math.log1p(math.exp(v))) for v in X.tolist()]
    assert build('type: "Mish"', (65,))(X).tolist() == pytest.approx(wanted)


@pytest.mark.parametrize("kind", ["ReLU6", "Relu6"])
@pytest.mark.parametrize("slope", [0, 0.25, -0.5])
def test_relu6_is_a_relu_that_ends_at_6(kind: str, slope: float) -> None:
    wanted = [min(max(v, 0) + slope * min(v, 0), 6) for v in X.tolist()]
    found = build(f'type: "{kind}" relu6_param {{ negative_slope: {slope} }}', (65,))(X)
    assert found.tolist() == pytest.approx(wanted)
