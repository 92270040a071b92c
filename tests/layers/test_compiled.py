"""Convolutions by a compiled loop; expected values are torch's in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from caffe_compat.layers.compiled import CompiledConvolution, compiled_form, loops
from caffe_compat.layers.windows import Windows
from tests.kernels.switch import needs_loops, other_defaults

pytestmark = [needs_loops, pytest.mark.skipif(loops() is None, reason="this processor has no AVX-512")]

CASES = {  # shape of the bottom, filters, groups, kernel, stride, pad, dilation
    "one value": ((2, 20, 5, 3), 70, 1, (1, 1), (1, 1), (0, 0), (1, 1)),
    "one value of one pixel each": ((9, 5, 1, 1), 3, 1, (1, 1), (1, 1), (0, 0), (1, 1)),
    "windows": ((2, 6, 5, 13), 17, 1, (3, 3), (1, 1), (1, 1), (1, 1)),
    "no pad": ((1, 20, 6, 9), 33, 1, (2, 3), (1, 1), (0, 0), (1, 1)),
    "few channels": ((2, 3, 23, 31), 64, 1, (7, 7), (2, 2), (3, 3), (1, 1)),
    "one channel": ((2, 1, 9, 14), 5, 1, (3, 5), (1, 1), (0, 2), (1, 1)),
    "groups": ((2, 12, 7, 8), 159, 3, (3, 1), (2, 1), (1, 0), (1, 1)),
    "one value in groups": ((1, 32, 4, 4), 34, 2, (1, 1), (1, 1), (0, 0), (1, 1)),
    "far taps": ((1, 10, 15, 14), 16, 1, (3, 3), (1, 1), (2, 2), (2, 2)),
    "far taps without a pad": ((1, 10, 15, 18), 16, 2, (3, 3), (1, 2), (0, 0), (2, 2)),
    "planes narrower than a tile": ((2, 20, 5, 3), 40, 1, (3, 3), (1, 1), (1, 1), (1, 1)),
    "rows above and below all": ((1, 12, 3, 4), 20, 1, (5, 3), (1, 1), (4, 1), (1, 1)),
    "a pad larger than the image": ((1, 9, 1, 9), 16, 1, (3, 3), (3, 2), (2, 4), (2, 1)),
    "much weight": ((3, 512, 3, 7), 130, 1, (3, 3), (1, 1), (1, 1), (1, 1)),
    "large planes": ((1, 32, 50, 70), 20, 1, (3, 3), (1, 1), (1, 1), (1, 1)),
}


def _parts(case: str) -> tuple[Tensor, Tensor, Tensor, Windows, int]:
    shape, filters, group, *sizes = CASES[case]
    torch.manual_seed(0)
    weight = torch.randn(filters, shape[1] // group, *sizes[0])
    return torch.randn(shape), weight, torch.randn(filters), Windows(*sizes), group


def _form(case: str, slope: float | None = None, with_bias: bool = True) -> CompiledConvolution:
    bottom, weight, bias, windows, group = _parts(case)
    module = loops()
    assert module is not None
    return CompiledConvolution(module, bottom.shape, weight, bias if with_bias else None, windows, group, slope)


def _wanted(case: str, slope: float | None = None, other: Tensor | None = None, with_bias: bool = True) -> Tensor:
    bottom, weight, bias, windows, group = _parts(case)
    exact_bias = bias.double() if with_bias else None
    top = F.conv2d(
        bottom.double(), weight.double(), exact_bias, windows.stride, windows.pad, windows.dilation, group
    )  # fmt: skip
    top = top if other is None else top + other.double()
    return top if slope is None else F.leaky_relu(top, slope)


def _assert_close(found: Tensor, wanted: Tensor) -> None:
    """Sums of n products in float32: n roundings, here at most 4,608 values of a window, most of which cancel out."""
    assert (found.double() - wanted).abs().max() <= 5e-6 * wanted.abs().max()


def _slice(bottom: Tensor) -> Tensor:
    """`bottom` as some channels of larger images."""
    batch, channels, height, width = bottom.shape
    whole = torch.full((batch, channels + 9, height, width), torch.nan).contiguous(memory_format=torch.channels_last)
    return whole[:, 4 : 4 + channels].copy_(bottom)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("lie", ["contiguous", "channels last", "channels of others"])
def test_bottoms_are_read_as_they_lie(case, lie):
    bottom = _parts(case)[0]
    if lie == "channels last":
        bottom = bottom.contiguous(memory_format=torch.channels_last)
    if lie == "channels of others":
        bottom = _slice(bottom)
    found = _form(case)(bottom)
    _assert_close(found, _wanted(case))
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("slope", "with_bias", "adds"), [(0.0, True, True), (0.1, False, True), (0.0, False, False)])
def test_what_follows_is_done_with_it(case, slope, with_bias, adds):
    other = torch.randn(_wanted(case).shape) if adds else None
    _assert_close(_form(case, slope, with_bias)(_parts(case)[0], other), _wanted(case, slope, other, with_bias))


@pytest.mark.parametrize("case", CASES)
def test_a_top_among_other_channels_leaves_those_alone(case):
    wanted = _wanted(case)
    batch, filters, height, width = wanted.shape
    whole = torch.full((batch, filters + 21, height, width), 7.0).contiguous(memory_format=torch.channels_last)
    found = _form(case)(_parts(case)[0], None, whole[:, 3 : 3 + filters])
    _assert_close(found, wanted)
    assert (whole[:, :3] == 7).all() and (whole[:, 3 + filters :] == 7).all()


@pytest.mark.parametrize("case", CASES)
def test_the_number_of_threads_changes_no_bit(case):
    before, bottom, found = torch.get_num_threads(), _parts(case)[0], []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(_form(case)(bottom))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@pytest.mark.parametrize(
    ("shape", "filters", "kernel"), [((1, 480, 14, 14), 192, 1), ((1, 96, 28, 28), 128, 3), ((8, 64, 56, 56), 192, 3)]
)
def test_two_threads_get_equal_shares(shape, filters, kernel):
    """Parts are taken in turn by whoever is free; the one who works longest has at most an eighth more than half."""
    before, module = torch.get_num_threads(), loops()
    windows = Windows((kernel,) * 2, (1, 1), (kernel // 2,) * 2, (1, 1))
    try:
        torch.set_num_threads(2)
        weight = torch.zeros(filters, shape[1], kernel, kernel)
        form = CompiledConvolution(module, torch.Size(shape), weight, None, windows, 1, None)
    finally:
        torch.set_num_threads(before)
    tiles, panels = form._rest[1:3]
    images, all_panels = (1 if kernel == 1 else shape[0]), -(-filters // 64)
    units = -(-form.tiles // tiles) * -(-all_panels // panels) * images
    busy = [0, 0]
    for part in range(8):
        busy[busy.index(min(busy))] += (part + 1) * units // 8 - part * units // 8
    assert max(busy) * tiles * panels <= 1.125 * form.tiles * all_panels * images / 2


def test_values_that_are_no_numbers_go_where_they_belong():
    bottom = torch.zeros(1, 4, 3, 8)
    bottom[0, 0, 1, 2], bottom[0, 0, 1, 6] = torch.nan, -torch.inf
    module, weight = loops(), torch.ones(1, 4, 1, 1)
    assert module is not None
    windows = Windows((1, 1), (1, 1), (0, 0), (1, 1))
    found = CompiledConvolution(module, bottom.shape, weight, None, windows, 1, 0.0)(bottom)
    assert found[0, 0, 1, 2].isnan() and found[0, 0, 1, 6] == 0 and found.isnan().sum() == 1


@pytest.mark.parametrize(
    ("shape", "filters", "group", "pad", "takes"),
    [
        pytest.param((1, 32, 14, 14), 64, 1, 1, True, id="plain"),
        pytest.param((64, 64, 3, 3), 64, 1, 1, False, id="many planes of a bad size"),
        pytest.param((1, 64, 3, 3), 64, 1, 1, True, id="one of them"),
        pytest.param((1, 32, 2, 3), 64, 1, 1, False, id="planes below a tile"),
        pytest.param((1, 32, 28, 28), 32, 32, 1, False, id="a filter for each channel"),
        pytest.param((0, 32, 14, 14), 64, 1, 1, False, id="no images"),
    ],
)
def test_the_loop_is_taken_where_it_computes_little_for_nothing(shape, filters, group, pad, takes):
    weight, windows = torch.randn(filters, shape[1] // group, 3, 3), Windows((3, 3), (1, 1), (pad, pad), (1, 1))
    assert (compiled_form(torch.zeros(shape), weight, None, windows, group, None) is not None) == takes


def test_other_types_and_other_tensors_are_left_to_torch():
    bottom, weight = torch.zeros(1, 32, 14, 14), torch.zeros(64, 32, 1, 1)
    windows = Windows((1, 1), (1, 1), (0, 0), (1, 1))
    assert compiled_form(bottom, weight, None, windows, 1, None) is not None
    for other in (bottom.double(), bottom.to("meta"), torch._neg_view(bottom)):
        assert compiled_form(other, weight, None, windows, 1, None) is None
    assert compiled_form(bottom, weight.double(), None, windows, 1, None) is None


def test_without_loops_torch_does_it(monkeypatch):
    monkeypatch.setenv("CAFFE_COMPAT_KERNELS", "off")
    windows = Windows((1, 1), (1, 1), (0, 0), (1, 1))
    assert compiled_form(torch.zeros(1, 32, 14, 14), torch.zeros(64, 32, 1, 1), None, windows, 1, None) is None


def test_the_type_that_a_user_sets_for_new_tensors_does_not_matter():
    bottom, form = _parts("windows")[0].contiguous(memory_format=torch.channels_last), _form("windows")
    with other_defaults():
        top = form(bottom)
    assert top.dtype == torch.float32 and torch.equal(top, form(bottom))
