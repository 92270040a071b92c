"""Embed: rows and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caffe_compat.errors import DataError, UnsupportedParameterError
from tests.layers.single import build

FILLERS = 'weight_filler { type: "gaussian" } bias_filler { type: "gaussian" }'


@pytest.mark.parametrize("bias", [True, False])
def test_embed_looks_rows_up_and_adds_gradients_of_equal_indices(bias: bool) -> None:
    text = f'type: "Embed" embed_param {{ input_dim: 5 num_output: 3 bias_term: {str(bias).lower()} {FILLERS} }}'
    layer = build(text, (2, 4))
    index = torch.tensor([[0.0, 4.0, 1.0, 4.0], [2.0, 2.0, 4.0, 0.0]])
    top = layer(index)
    assert layer.top_shapes([(2, 4)]) == [tuple(top.shape)]
    for n, i in np.ndindex(2, 4):
        expected = layer.blobs[0][int(index[n, i])] + (layer.blobs[1] if bias else 0)
        assert torch.equal(top[n, i], expected)
    top.sum().backward()
    assert layer.blobs[0].grad[:, 0].tolist() == [2, 1, 2, 0, 3]
    assert not bias or layer.blobs[1].grad.tolist() == [8, 8, 8]


@pytest.mark.parametrize(("index", "message"), [(5.0, "an index of 5; input_dim 5 allows 0 to 4"), (-1.0, "of -1;")])
def test_embed_refuses_indices_without_a_row(index: float, message: str) -> None:
    layer = build('type: "Embed" embed_param { input_dim: 5 num_output: 3 }', (2,))
    with pytest.raises(DataError, match=message):
        layer(torch.tensor([1.0, index]))
    with pytest.raises(UnsupportedParameterError, match="input_dim is 0 and num_output 3"):
        build('type: "Embed" embed_param { num_output: 3 }', (2,))
