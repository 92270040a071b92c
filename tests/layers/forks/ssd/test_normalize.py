"""Normalize of SSD and of happynear's fork against plain loops."""

from __future__ import annotations

import itertools

import pytest
import torch

from caffe_compat.errors import UnsupportedParameterError
from tests.layers.single import build

SHAPE = (2, 3, 4, 5)


@pytest.mark.parametrize(("across", "shared"), list(itertools.product([False, True], repeat=2)))
def test_each_place_or_item_gets_the_length_of_its_scale(across: bool, shared: bool) -> None:
    fields = f"across_spatial: {str(across).lower()} channel_shared: {str(shared).lower()} eps: 0.25"
    layer = build(f'type: "Normalize" norm_param {{ {fields} scale_filler {{ value: 20 }} }}', SHAPE).double()
    x = torch.randn(SHAPE, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    for n, h, w in itertools.product(range(2), range(4), range(5)):
        values = x[n] if across else x[n, :, h, w]
        length = (sum(v * v for v in values.flatten().tolist()) + 0.25) ** 0.5
        torch.testing.assert_close(y[n, :, h, w], 20 * x[n, :, h, w] / length)
    assert layer.blobs[0].shape == (() if shared else (3,))
    assert torch.autograd.gradcheck(lambda bottom, scale: layer(bottom), (x, layer.blobs[0]), fast_mode=True)


def test_scale_is_one_by_default() -> None:
    assert build('type: "Normalize"', SHAPE).blobs[0] == 1


def test_fields_of_other_forks_are_refused() -> None:
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': norm_param\.fix_gradient is True, which is not"):
        build('type: "Normalize" norm_param { fix_gradient: true }', SHAPE)
