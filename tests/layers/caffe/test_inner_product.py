"""InnerProduct and Embed against plain sums and look-ups."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build

FILLERS = 'weight_filler { type: "gaussian" } bias_filler { type: "gaussian" }'


def _text(fields: str = "") -> str:
    return f'type: "InnerProduct" inner_product_param {{ num_output: 4 {FILLERS} {fields} }}'


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("transpose", [True, False])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_rows_of_the_bottom_meet_columns_of_the_weight(
    axis: int, transpose: bool, bias: bool, channels_last: bool
) -> None:
    shape = (2, 3, 5, 4)
    fields = f"axis: {axis} transpose: {str(transpose).lower()} bias_term: {str(bias).lower()}"
    layer = build(_text(fields), shape).double()
    x = torch.randn(shape, dtype=torch.float64)
    weight = layer.blobs[0].detach().numpy()
    weight = weight if transpose else weight.T
    outer = shape[: axis % 4]
    expected = np.empty((*outer, 4))
    for place in np.ndindex(*outer):
        vector = x.numpy()[place].reshape(-1)
        for output in range(4):
            added = layer.blobs[1][output].item() if bias else 0.0
            expected[(*place, output)] = sum(v * w for v, w in zip(vector, weight[:, output], strict=True)) + added
    given = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    np.testing.assert_allclose(layer(given).detach(), expected, rtol=1e-10, atol=1e-10)
    assert layer.top_shapes([shape]) == [expected.shape]
    assert len(layer.blobs) == 1 + bias


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_gradient_is_the_derivative_and_has_the_bottoms_layout(channels_last: bool) -> None:
    layer = build(_text(), (2, 3, 2, 4)).double()
    x = torch.randn(2, 3, 2, 4, dtype=torch.float64)
    x = x.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *blobs: layer(x), (x, *layer.blobs))
    (diff,) = torch.autograd.grad(layer(x * 1).sum(), x)
    assert diff.is_contiguous(memory_format=torch.channels_last) is channels_last


def test_bottoms_that_do_not_fit_are_named() -> None:
    layer = build(_text(), (2, 3, 5, 4))
    assert layer.top_shapes([(7, 3, 5, 4)]) == [(7, 4)]
    assert layer.multiply_adds([(7, 3, 5, 4)], [(7, 4)]) == 7 * 4 * 60
    with pytest.raises(ShapeError, match=r"bottom \(2, 3, 5, 5\) has 75 values from axis 1 on, the weight takes 60"):
        layer.top_shapes([(2, 3, 5, 5)])
    with pytest.raises(UnsupportedParameterError, match="layer 'lay': num_output is 0; give 1 or more"):
        build('type: "InnerProduct"', (2, 3))
