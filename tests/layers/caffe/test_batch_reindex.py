"""BatchReindex."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import DataError
from tests.layers.single import build


def test_batch_reindex_takes_the_items_named() -> None:
    layer = build('type: "BatchReindex"', (4, 3), (5,))
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([3.0, 0.0, 0.0, 2.0, 3.0])
    assert torch.equal(layer(x, index), x[[3, 0, 0, 2, 3]])
    assert torch.autograd.gradcheck(lambda bottom: layer(bottom, index), x)


@pytest.mark.parametrize("bad", [4.0, -1.0])
def test_batch_reindex_names_an_index_outside(bad: float) -> None:
    layer = build('type: "BatchReindex"', (4, 3), (2,))
    with pytest.raises(DataError, match=f"layer 'lay': bottom 1 'b1' holds index {bad:g}, wanted 0 to 3"):
        layer(torch.zeros(4, 3), torch.tensor([0.0, bad]))
