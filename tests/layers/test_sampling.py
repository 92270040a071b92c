"""Reading planes between and outside their pixels."""

from __future__ import annotations

from functools import partial

import torch

from caffe_compat.layers.sampling import interpolated, pixels


def test_outside_is_zero_and_between_is_mixed() -> None:
    plane = torch.tensor([[1.0, 2, 3], [5, 7, 11]])[None, None]
    row, column = torch.tensor([[[0.5, 0.0, 1.5, -1.0]]]), torch.tensor([[[1.25, -0.5, 2.0, 0.0]]])
    low = row.floor(), column.floor()
    found = interpolated(low, (low[0] + 1, low[1] + 1), (row, column), partial(pixels, plane))
    between = ((2 * 0.75 + 3 * 0.25) + (7 * 0.75 + 11 * 0.25)) / 2
    assert found.flatten().tolist() == [between, 0.5, 5.5, 0.0]
