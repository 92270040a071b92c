"""Gradients that are left with the maker of a blob."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.layers.handed import Handed, aside, handed_of, marked

LAYOUT = torch.channels_last


def _ones(times: float = 1.0) -> torch.Tensor:
    return torch.full((2, 3, 4, 5), times).contiguous(memory_format=LAYOUT)


def test_a_blob_tells_where_until_it_is_written_on():
    blob, handed = _ones(), Handed()
    assert handed_of(blob) is None
    assert handed_of(marked(blob, handed)) is handed
    blob.add_(1)
    assert handed_of(blob) is None


@pytest.mark.parametrize("writes", [False, True])
def test_what_was_left_is_added_once(writes):
    handed = Handed()
    handed.put(_ones(2))
    handed.put(_ones(3))
    gradient, other, is_owned = handed.gathered(_ones(10), LAYOUT, False, writes)
    assert is_owned and (other is not None) == writes
    assert (gradient + (0 if other is None else other) == 15).all()
    gradient, other, is_owned = handed.gathered(_ones(10), LAYOUT, False, False)
    assert (gradient == 10).all() and other is None and not is_owned


def test_what_somebody_else_holds_is_not_written_on():
    found = _ones()
    assert Handed().gathered(found, LAYOUT, False, True)[0] is not found
    assert Handed().gathered(found, LAYOUT, True, True)[0] is found
    assert Handed().gathered(found, LAYOUT, False, False)[0] is found


def test_another_layout_is_a_copy_that_may_be_written_on():
    gradient, _, is_owned = Handed().gathered(_ones().contiguous(), LAYOUT, False, False)
    assert is_owned and gradient.is_contiguous(memory_format=LAYOUT)


def test_a_gradient_may_come_from_the_sum_alone_or_not_at_all():
    handed = Handed()
    assert handed.gathered(None, LAYOUT, False, True) is None
    handed.put(_ones())
    assert handed.gathered(None, LAYOUT, False, True)[1:] == (None, True)


def test_the_gradient_of_a_reader_aside_is_left_and_goes_no_other_way():
    blob, handed = _ones().requires_grad_(), Handed()
    (aside(blob, handed) * 3).sum().backward()
    assert blob.grad is None
    assert (handed.gathered(None, LAYOUT, False, False)[0] == 3).all()
