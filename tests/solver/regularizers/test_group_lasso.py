"""Group lasso: its gradient is that of the sum of the blocks' norms."""

import pytest
import torch

from caffe_compat.solver.regularizers.group_lasso import Blocks, group_lasso

SHAPE = (6, 2, 3, 5)


def penalty(weight, rows, columns):
    """sum_b |w_b|, block by block."""
    matrix = weight.reshape(len(weight), -1)
    total = matrix.new_zeros(())
    for top in range(0, matrix.shape[0], rows):
        for left in range(0, matrix.shape[1], columns):
            total = total + matrix[top : top + rows, left : left + columns].square().sum().sqrt()
    return total


@pytest.mark.parametrize(("rows", "columns"), [(1, 30), (6, 1), (3, 1), (2, 15), (1, 1), (6, 30)])
def test_the_gradient_is_that_of_the_sum_of_norms(rows, columns):
    torch.manual_seed(3)
    weight = torch.randn(SHAPE, dtype=torch.float64, requires_grad=True)
    penalty(weight, rows, columns).backward()
    gradient = torch.ones_like(weight)
    group_lasso([weight.detach()], [gradient], [Blocks(0, rows, columns, 0.25)])
    torch.testing.assert_close(gradient, 1 + 0.25 * weight.grad, rtol=1e-12, atol=1e-12)


def test_a_block_of_zeros_gets_nothing():
    weight, gradient = torch.ones(SHAPE), torch.zeros(SHAPE)
    weight[2] = 0
    group_lasso([weight], [gradient], [Blocks(0, 1, 30, 1.0)])
    assert bool((gradient[2] == 0).all()) and bool((gradient[1] == 30**-0.5).all())


def test_weights_in_another_memory_order_are_the_same_matrix():
    torch.manual_seed(4)
    weight = torch.randn(SHAPE)
    plain, other = torch.zeros(SHAPE), torch.zeros(SHAPE).to(memory_format=torch.channels_last)
    group_lasso([weight], [plain], [Blocks(0, 6, 1, 1.0)])
    group_lasso([weight.to(memory_format=torch.channels_last)], [other], [Blocks(0, 6, 1, 1.0)])
    torch.testing.assert_close(other, plain)
