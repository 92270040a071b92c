"""LabelSpecificAdd, score by score."""

from __future__ import annotations

import pytest
import torch

from tests.layers.single import build

SCORES = [[0.9, 0.1, 0.2], [0.5, 0.3, 0.6], [0.7, 0.8, -0.4]]
LABELS = torch.tensor([0.0, 1.0, 2.0])


def test_a_label_above_minus_bias_is_lowered_in_training_alone() -> None:
    x = torch.tensor(SCORES, requires_grad=True)
    text = 'type: "LabelSpecificAdd" label_specific_add_param { bias: -0.35 transform_test: true }'
    y = build(text, (3, 3), (3,), phase="TRAIN")(x, LABELS)
    wanted = torch.tensor(SCORES)
    wanted[0, 0] -= 0.35  # 0.3 and -0.4 are not above 0.35
    torch.testing.assert_close(y, wanted)
    y.backward(torch.ones(3, 3))
    assert torch.equal(x.grad, torch.ones(3, 3))
    assert torch.equal(build(text, (3, 3), (3,))(x, LABELS), x)


def test_the_bias_grows_with_the_iteration_to_its_limit() -> None:
    fields = "bias_base: 0.125 bias_gamma: 0.25 bias_power: 2 bias_min: 0.5 bias_max: 2"
    layer = build(
        f'type: "LabelSpecificAdd" label_specific_add_param {{ {fields} }}', (3, 3), (3,), tops=2, phase="TRAIN"
    )
    biases = [float(layer(torch.tensor(SCORES), LABELS)[1]) for _ in range(5)]
    assert biases == pytest.approx([0.5, 0.6875, 1.375, 2, 2])
