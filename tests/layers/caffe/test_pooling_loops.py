"""Pooling by compiled loops against plain loops over the windows, and to the bit against torch's way."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from caffe_compat.layers.caffe.pooling import make_plan
from caffe_compat.layers.caffe.pooling_loops import average_by_loop, max_by_loop
from caffe_compat.layers.windows import Windows
from tests.kernels.switch import needs_loops
from tests.layers.caffe.test_pooling import _is_sound, _text, _values, pools
from tests.layers.single import build
from tests.reference.pooling import FLT_MAX, Pool

pytestmark = needs_loops

SHAPES = [
    ((2, 16, 7, 9), "kernel_size: 3 stride: 2"),
    ((1, 35, 6, 6), "kernel_size: 3 stride: 1 pad: 1"),
    ((3, 17, 8, 5), "kernel_size: 2 stride: 2 round_mode: FLOOR"),
    ((1, 24, 9, 7), "kernel_h: 5 kernel_w: 2 stride: 3 pad_h: 4 pad_w: 1"),
    ((2, 32, 7, 7), "global_pooling: true"),
    ((2, 64, 40, 30), "kernel_size: 3 stride: 2 pad: 1"),  # enough for two threads
]


def _wide(values: Tensor, channels: int = 18) -> Tensor:
    """Two channels of values, again and again."""
    return values.repeat(1, channels // 2, 1, 1).contiguous(memory_format=torch.channels_last)


@settings(max_examples=60, deadline=None)
@given(pools())
def test_windows_are_those_of_plain_loops(case: tuple[Pool, tuple[int, int]]) -> None:
    pool, size = case
    if not _is_sound(pool, size):
        return
    x = _values((2, 2, *size))
    plan = make_plan("lay", size, Windows(pool.kernel, pool.stride, pool.pad, (1, 1)), pool.ceil)
    most, mean = max_by_loop(_wide(x), plan), average_by_loop(_wide(x), plan)
    expected = _wide(torch.from_numpy(pool.maximum(x.numpy())[0]))
    assert torch.equal(most, expected.float())
    # sums of integers are exact in float32, the division rounds
    torch.testing.assert_close(mean, _wide(torch.from_numpy(pool.average(x.numpy()))).float(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("shape", "fields"), SHAPES)
@pytest.mark.parametrize("method", ["MAX", "AVE", "AVE avg_include_pad: false"])
def test_both_ways_give_the_same_bits(method, shape, fields, monkeypatch):
    layer = build(f'type: "Pooling" pooling_param {{ pool: {method} {fields} }}', shape)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=torch.channels_last)
    looped = layer(x)
    monkeypatch.setenv("CAFFE_COMPAT_KERNELS", "off")
    assert torch.equal(looped, layer(x))
    assert looped.is_contiguous(memory_format=torch.channels_last)


def test_a_nan_never_wins_and_minus_infinity_gives_the_least_float() -> None:
    x = torch.full((1, 2, 6, 6), -math.inf)
    x[0, 0, 3:, 3:] = torch.arange(9.0).view(3, 3)
    x[0, 0, 5, 5] = x[0, 0, 0, 0] = x[0, 1, 3, 3] = math.nan
    x[0, 1, 0, 0] = math.inf
    pool = Pool((3, 3), (3, 3), (2, 2))
    top = build(_text("MAX", pool), (1, 18, 6, 6))(_wide(x))
    assert torch.equal(top, _wide(torch.from_numpy(pool.maximum(x.numpy())[0])).float())
    assert top.min() == -FLT_MAX


def test_a_zero_keeps_its_sign() -> None:
    x = torch.tensor([[[[0.0, -0.0]], [[-0.0, 0.0]]]])  # the first of equal values is the maximum
    top = build('type: "Pooling" pooling_param { kernel_h: 1 kernel_w: 2 }', (1, 18, 1, 2))(_wide(x))
    assert np.signbit(top.numpy()).ravel().tolist() == [False, True] * 9


@pytest.mark.parametrize(("shape", "fields"), SHAPES)
def test_a_top_may_be_some_channels_of_larger_images(shape, fields):
    batch, channels = shape[:2]
    layer = build(f'type: "Pooling" pooling_param {{ {fields} }}', shape)
    x, plan = torch.randn(shape).contiguous(memory_format=torch.channels_last), layer.plan(shape)
    for by_loop in (max_by_loop, average_by_loop):
        whole = torch.full((batch, channels + 9, *plan.output), 7.0).contiguous(memory_format=torch.channels_last)
        part = whole[:, 5 : 5 + channels]
        assert by_loop(x, plan, top=part) is part
        assert torch.equal(part, by_loop(x, plan))
        assert (whole[:, :5] == 7).all() and (whole[:, 5 + channels :] == 7).all()
