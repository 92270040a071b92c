"""MaxUnPool against the fork's walk over a plane."""

import pytest
import torch

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from tests.layers.single import build

SIZE = "type: 'MaxUnPool' max_unpool_param { dst_h: 4 dst_w: 6 }"


def test_each_value_goes_where_the_mask_of_pooling_says() -> None:
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    pooling = build('type: "Pooling" pooling_param { kernel_size: 2 stride: 2 }', (2, 3, 4, 6), tops=2)
    pooled, mask = pooling(x)
    values = torch.randn_like(pooled).requires_grad_()
    top = build(SIZE, tuple(pooled.shape), tuple(mask.shape))(values, mask)
    wanted = torch.zeros(2, 3, 4, 6, dtype=torch.float64)
    weights, slopes = torch.randn_like(wanted), torch.zeros_like(values)
    for n in range(2):
        for c in range(3):
            for i in range(2):
                for j in range(3):
                    row, column = divmod(int(mask[n, c, i, j]), 6)
                    wanted[n, c, row, column] = values[n, c, i, j].detach()
                    slopes[n, c, i, j] = weights[n, c, row, column]
    assert torch.equal(top, wanted)
    (top * weights).sum().backward()
    assert values.grad is not None and torch.equal(values.grad, slopes)


@pytest.mark.parametrize("place", [24.0, -1.0])
def test_a_place_outside_the_plane_is_told(place: float) -> None:
    with pytest.raises(DataError, match=rf"mask 'b1' names place {place:.0f} of a plane of 24; give dst_h and dst_w"):
        build(SIZE, (1, 1, 1, 1), (1, 1, 1, 1))(torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), place))


def test_sizes_and_shapes_that_do_not_fit_are_told() -> None:
    with pytest.raises(UnsupportedParameterError, match="dst_h and dst_w are 3 and 0; both must be given"):
        build('type: "MaxUnPool" max_unpool_param { dst_h: 3 }', (1, 1, 1, 1), (1, 1, 1, 1))
    with pytest.raises(ShapeError, match=r"\(1, 1, 2, 2\) and \(1, 1, 2, 1\), wanted \(N, C, H, W\) for both"):
        build(SIZE, (1, 1, 2, 2), (1, 1, 2, 1))
