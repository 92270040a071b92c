"""ReorgYolo against Darknet's walk over memory, which the fork has too."""

import itertools

import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build

SHAPE, STRIDE = (2, 8, 4, 6), 2


def test_reorg_yolo_is_darknets_walk_over_memory() -> None:
    x = torch.randn(SHAPE, dtype=torch.float64)
    memory, top = x.flatten(), torch.zeros(x.numel(), dtype=torch.float64)
    number, channels, height, width = SHAPE
    planes = channels // STRIDE**2
    for b, c, y, column in itertools.product(range(number), range(channels), range(height), range(width)):
        offset, plane = divmod(c, planes)
        right, down = column * STRIDE + offset % STRIDE, y * STRIDE + offset // STRIDE
        source = right + width * STRIDE * (down + height * STRIDE * (plane + planes * b))
        top[column + width * (y + height * (c + channels * b))] = memory[source]
    found = build('type: "ReorgYolo" reorg_yolo_param { stride: 2 }', SHAPE)(x)
    assert found.shape == (2, 32, 2, 3)
    assert torch.equal(found.flatten(), top)


def test_stride_is_1_by_default_and_must_be_positive_and_fit() -> None:
    x = torch.randn(1, 2, 3, 4)
    assert torch.equal(build('type: "ReorgYolo"', (1, 2, 3, 4))(x), x)
    with pytest.raises(UnsupportedParameterError, match=r"reorg_yolo_param\.stride is -2; it must be positive"):
        build('type: "ReorgYolo" reorg_yolo_param { stride: -2 }', (1, 4, 2, 2))
    with pytest.raises(ShapeError, match="cannot be reorganised with stride 2"):
        build('type: "ReorgYolo" reorg_yolo_param { stride: 2 }', (1, 3, 2, 2))
