"""Happynear's Normalize against its formula."""

from __future__ import annotations

import itertools

import pytest
import torch

from caffe_compat.errors import UnsupportedParameterError
from tests.layers.single import build

SHAPE = (2, 3, 4, 5)


@pytest.mark.parametrize("kind", ["L1", "L2"])
def test_happynears_form_has_no_blobs_and_gives_the_length(kind: str) -> None:
    text = f'type: "Normalize" normalize_param {{ normalize_type: "{kind}" bp_norm: true }}'
    layer = build(text, SHAPE, tops=2)
    x = torch.randn(SHAPE, dtype=torch.float64, requires_grad=True)
    y, length = layer(x)
    assert (len(layer.blobs), length.shape) == (0, (2, 1, 4, 5))
    for n, h, w in itertools.product(range(2), range(4), range(5)):
        values = x[n, :, h, w].tolist()
        wanted = sum(map(abs, values)) + 1e-6 if kind == "L1" else (sum(v * v for v in values) + 1e-6) ** 0.5
        assert float(length[n, 0, h, w].detach()) == pytest.approx(wanted, rel=1e-12)
        assert y[n, :, h, w].tolist() == pytest.approx([v / wanted for v in values], rel=1e-12)
    assert torch.autograd.gradcheck(layer, x, fast_mode=True)


def test_happynears_length_passes_no_gradient_by_itself() -> None:
    x = torch.randn(SHAPE, requires_grad=True)
    assert not build('type: "Normalize"', SHAPE, tops=2)(x)[1].requires_grad


def test_other_norms_are_refused() -> None:
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': normalize_param\.normalize_type is 'L3'"):
        build('type: "Normalize" normalize_param { normalize_type: "L3" }', SHAPE)
