"""Dropout: scaled in TRAIN, the identity in TEST."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import UnsupportedParameterError
from tests.layers.single import build


def test_segnets_samples_in_test_are_drawn_as_in_training() -> None:
    text = 'type: "Dropout" dropout_param { dropout_ratio: 0.5 sample_weights_test: true }'
    y = build(text, (1000,), phase="TEST")(torch.ones(1000))
    assert set(y.tolist()) == {0.0, 2.0}


def test_train_keeps_the_share_and_scales_it_and_its_gradient() -> None:
    layer = build('type: "Dropout" dropout_param { dropout_ratio: 0.3 }', (100, 99), phase="TRAIN")
    x = torch.rand(100, 99).add(1).requires_grad_()
    y = layer(x)
    y.sum().backward()
    kept = y != 0
    torch.testing.assert_close(y[kept], x[kept] / 0.7)
    assert x.grad is not None
    torch.testing.assert_close(x.grad, kept / 0.7)
    assert abs(kept.float().mean() - 0.7) < 5 * (0.3 * 0.7 / y.numel()) ** 0.5  # five standard deviations
    assert not torch.equal(layer(x) != 0, kept)


def test_test_phase_is_the_identity() -> None:
    x = torch.randn(4, 5)
    assert build('type: "Dropout"', (4, 5))(x) is x


def test_ratio_zero_keeps_all_as_release_builds_do() -> None:
    x = torch.randn(4, 5)
    layer = build('type: "Dropout" dropout_param { dropout_ratio: 0 }', (4, 5), phase="TRAIN")
    assert torch.equal(layer(x), x)


@pytest.mark.parametrize("ratio", ["1", "1.5", "-0.1"])
def test_impossible_ratios_are_refused(ratio: str) -> None:
    with pytest.raises(UnsupportedParameterError, match=f"layer 'lay': dropout_param.dropout_ratio is {ratio};"):
        build(f'type: "Dropout" dropout_param {{ dropout_ratio: {ratio} }}', (4, 5))
