"""The product over its own second factor; what OpenBLAS 0.3 (SkylakeX) leaves was recorded through real Caffe."""

from __future__ import annotations

import torch

from caffe_compat.layers.caffe.blas import overwriting_product


def test_rows_of_one_block_are_all_made_from_what_lay_there():
    memory = torch.arange(1.0, 9.0)
    factor = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    wanted = factor[0] @ memory.view(2, 4)
    overwriting_product(memory, 0, factor, 4, turned=False)
    assert torch.equal(memory.view(2, 4), wanted)


def test_a_third_row_is_made_from_the_first_two_as_they_are_by_then():
    memory = torch.tensor([1.0, 10.0, 100.0])
    factor = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 2.0, 0.0], [1.0, 1.0, 1.0]]])
    overwriting_product(memory, 0, factor, 1, turned=False)
    assert memory.tolist() == [11.0, 20.0, 131.0]


def test_groups_stay_apart_and_what_lies_in_front_is_kept():
    memory = torch.tensor([7.0, 1.0, 2.0])
    overwriting_product(memory, 1, torch.tensor([[[3.0]], [[5.0]]]), 1, turned=True)
    assert memory.tolist() == [7.0, 3.0, 10.0]


def test_a_large_product_is_of_zeros():
    memory = torch.ones(100 * 101)
    overwriting_product(memory, 0, torch.ones(1, 100, 100), 101, turned=False)
    assert not memory.any()
