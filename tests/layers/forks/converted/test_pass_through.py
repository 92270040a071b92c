"""PassThrough against the fork's walk over blocks."""

import itertools

import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build


@pytest.mark.parametrize(("height", "width"), [(2, 2), (3, 1), (2, 3)])
def test_pass_through_is_the_forks_walk_over_blocks(height: int, width: int) -> None:
    shape = (2, 3, 6, 6)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    text = f'type: "PassThrough" pass_through_param {{ block_height: {height} block_width: {width} }}'
    layer = build(text, shape)
    wanted = torch.zeros(2, 3 * height * width, 6 // height, 6 // width, dtype=torch.float64)
    for c, i, j in itertools.product(range(3), range(6 // height), range(6 // width)):
        for row, column in itertools.product(range(height), range(width)):
            wanted[:, c + (row * width + column) * 3, i, j] = x.detach()[:, c, i * height + row, j * width + column]
    assert torch.equal(layer(x), wanted)
    assert layer.top_shapes([shape]) == [tuple(wanted.shape)]
    assert torch.autograd.gradcheck(layer, x, fast_mode=True)


def test_num_output_must_be_what_comes_of_it() -> None:
    text = 'type: "PassThrough" pass_through_param {{ num_output: {} block_height: 2 block_width: 2 }}'
    assert build(text.format(12), (1, 3, 4, 4)).top_shapes([(1, 3, 4, 4)]) == [(1, 12, 2, 2)]
    with pytest.raises(ShapeError, match="num_output is 8, and blocks of 2 x 2 make 12 channels of 3; give 12"):
        build(text.format(8), (1, 3, 4, 4))


def test_blocks_that_do_not_fit_are_told() -> None:
    with pytest.raises(UnsupportedParameterError, match="block_height and block_width are 2 and 0"):
        build('type: "PassThrough" pass_through_param { block_height: 2 }', (1, 1, 2, 2))
    with pytest.raises(ShapeError, match=r"\(1, 1, 4, 5\) cannot be cut into blocks of 2 x 2"):
        build('type: "PassThrough" pass_through_param { block_height: 2 block_width: 2 }', (1, 1, 4, 5))
