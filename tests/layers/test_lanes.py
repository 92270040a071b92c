"""Convolutions in other forms than the library's own."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.layers.lanes import convolve_by_columns, convolve_padded, faster_form
from caffe_compat.layers.windows import Windows
from tests.reference.convolution import convolve

CASES = {  # filters, channels, group, kernel, stride, pad, dilation
    "groups": (42, 6, 2, (3, 3), (1, 1), (1, 1), (1, 1)),
    "one group": (18, 3, 1, (3, 5), (1, 1), (1, 2), (1, 1)),
    "rows with a stride": (19, 2, 1, (2, 3), (2, 1), (0, 1), (1, 1)),
    "dilation": (34, 4, 2, (3, 3), (1, 1), (2, 2), (2, 2)),
}


@pytest.mark.parametrize("biased", (False, True))
@pytest.mark.parametrize("form", (convolve_by_columns, convolve_padded))
@pytest.mark.parametrize("case", CASES)
def test_every_form_gives_what_plain_loops_give(case, form, biased):
    filters, channels, group, *sizes = CASES[case]
    windows = Windows(*sizes)
    torch.manual_seed(0)
    bottom, bias = torch.randn(1, channels, 5, 4), torch.randn(filters)
    weight = torch.randn(filters, channels // group, *windows.kernel)
    top = form(bottom, weight, bias if biased else None, windows, group)
    assert top.is_contiguous(memory_format=torch.channels_last)
    arrays = [each.double().numpy() for each in (bottom, weight, bias * biased)]
    wanted = convolve(*arrays, top.shape[2:], windows.stride, windows.pad, windows.dilation, group)
    # sums of at most 45 products in float32
    torch.testing.assert_close(top.double(), torch.from_numpy(wanted), rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() != "AVX512", reason="vectors of 16 float32 numbers")
def test_forms_are_for_large_batches_without_gradients_where_filters_fill_no_whole_vectors():
    bottom = torch.empty(64, 384, 13, 13, memory_format=torch.channels_last)
    weight = torch.empty(128, 192, 3, 3)
    windows = Windows((3, 3), (1, 1), (1, 1), (1, 1))
    strided = Windows((3, 3), (2, 2), (1, 1), (1, 1))
    with torch.no_grad():
        assert faster_form(bottom, weight[:106], windows, 2) is convolve_by_columns
        assert faster_form(bottom, weight[:106], strided, 2) is convolve_padded
        assert faster_form(bottom, weight[:120], windows, 2) is convolve_padded
        assert faster_form(bottom, weight, windows, 2) is None
        assert faster_form(bottom.contiguous(), weight[:106], windows, 2) is None
        assert faster_form(bottom[:1], weight[:106], windows, 2) is None
        assert faster_form(bottom.double(), weight[:106].double(), windows, 2) is None
    assert faster_form(bottom, weight[:106].requires_grad_(), windows, 2) is None
