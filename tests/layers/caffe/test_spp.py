"""SPP is pooling into ever smaller bins."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build
from tests.reference.pooling import Pool


def _values(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Small integers, so that ties are frequent and sums exact."""
    return torch.from_numpy(np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float32))


@pytest.mark.parametrize("method", ["MAX", "AVE"])
@pytest.mark.parametrize("size", [(8, 8), (9, 11), (7, 13)])
def test_spp_is_pooling_into_ever_smaller_bins(method: str, size: tuple[int, int]) -> None:
    x = _values((2, 3, *size))
    layer = build(f'type: "SPP" spp_param {{ pool: {method} pyramid_height: 3 }}', tuple(x.shape))
    levels = []
    for bins in (1, 2, 4):
        kernel = tuple(math.ceil(n / bins) for n in size)
        pad = tuple((k * bins - n + 1) // 2 for k, n in zip(kernel, size, strict=True))
        pool = Pool(kernel, kernel, pad)
        top = pool.maximum(x.numpy())[0] if method == "MAX" else pool.average(x.numpy())
        levels.append(top.reshape(2, -1))
    top = layer(x)
    assert tuple(top.shape) == layer.top_shapes([tuple(x.shape)])[0]
    np.testing.assert_allclose(top, np.concatenate(levels, axis=1), rtol=1e-6, atol=1e-6)


def test_spp_with_one_level_leaves_its_axes_and_refuses_planes_smaller_than_its_bins() -> None:
    assert build('type: "SPP" spp_param { pyramid_height: 1 }', (2, 3, 5, 6)).top_shapes([(2, 3, 5, 6)]) == [
        (2, 3, 1, 1)
    ]
    with pytest.raises(ShapeError, match="a plane of 5x6 is too small for 4x4 bins; use pyramid_height 2"):
        build('type: "SPP" spp_param { pyramid_height: 3 }', (2, 3, 5, 6))
    with pytest.raises(UnsupportedParameterError, match="pyramid_height is 0"):
        build('type: "SPP" spp_param { }', (2, 3, 5, 6))
