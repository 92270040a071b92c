"""MatMul against sums over three loops, in the forms of each fork."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build


def product(first: Tensor, second: Tensor) -> Tensor:
    """Of two matrices, by its definition."""
    rows, columns = first.shape[0], second.shape[1]
    top = torch.zeros(rows, columns, dtype=first.dtype)
    for i, j in itertools.product(range(rows), range(columns)):
        top[i, j] = sum(first[i, k] * second[k, j] for k in range(first.shape[1]))
    return top


@pytest.mark.parametrize("turns", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("before", [(), (2,), (2, 3)])
def test_matrices_of_the_last_two_axes_are_multiplied(turns: tuple[bool, bool], before: tuple[int, ...]) -> None:
    a, b = torch.randn(*before, 4, 5, dtype=torch.float64), torch.randn(*before, 5, 3, dtype=torch.float64)
    given = [each.mT.contiguous() if turn else each for each, turn in zip((a, b), turns, strict=True)]
    fields = " ".join(f"transpose_{name}: {str(turn).lower()}" for name, turn in zip("ab", turns, strict=True))
    shapes = [tuple(each.shape) for each in given]
    layer = build(f'type: "MatMul" matmul_param {{ {fields} }}', *shapes)
    top = layer(*given)
    assert layer.top_shapes(shapes) == [(*before, 4, 3)]
    assert layer.multiply_adds(shapes, [(*before, 4, 3)]) == 4 * 5 * 3 * top[..., 0, 0].numel()
    for place in itertools.product(*map(range, before)):
        assert torch.allclose(top[place], product(a[place], b[place]), atol=1e-12)


def test_a_smaller_second_is_one_matrix_for_all_rows() -> None:
    a, b = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    top = build('type: "MatMul"', (2, 3, 4, 5), (5, 3))(a, b)
    for n, c in itertools.product(range(2), range(3)):
        assert torch.allclose(top[n, c], product(a[n, c], b), atol=1e-12)


def test_blob_shape_is_a_learned_second() -> None:
    layer = build('type: "MatMul" matmul_param { blob_shape: 5 blob_shape: 3 }', (4, 5))
    assert layer.blob_shapes == [(5, 3)] and not layer.blobs[0].any()
    weights = torch.randn(5, 3)
    layer.blobs[0].data.copy_(weights)
    a = torch.randn(4, 5)
    assert torch.allclose(layer(a), product(a, weights), atol=1e-5)


def test_gninas_matrices_have_all_axes_behind_the_second_as_columns() -> None:
    a, b = torch.randn(2, 3, 2, 4, dtype=torch.float64), torch.randn(2, 8, 2, 3, dtype=torch.float64)
    top = build('type: "MatMul"', (2, 3, 2, 4), (2, 8, 2, 3))(a, b)
    assert top.shape == (2, 3, 6)
    for n in range(2):
        assert torch.allclose(top[n], product(a[n].reshape(3, 8), b[n].reshape(8, 6)), atol=1e-12)


def test_sophgos_dims_are_rows_inner_and_columns_of_a_turned_second() -> None:
    a, b = torch.randn(1, 2, 6, dtype=torch.float64), torch.randn(5, 3, 1, 1, dtype=torch.float64)
    layer = build('type: "MatMul" matmul_param { dim_1: 4 dim_2: 3 dim_3: 5 }', (1, 2, 6), (5, 3, 1, 1))
    top = layer(a, b)
    assert torch.allclose(top, product(a.reshape(4, 3), b.reshape(5, 3).T.contiguous()), atol=1e-12)
    assert layer.multiply_adds([(1, 2, 6), (5, 3, 1, 1)], [(4, 5)]) == 60


@pytest.mark.parametrize(
    ("fields", "shapes", "said"),
    [
        ("", ((2, 3), (4, 5)), r"\(2, 3\) and \(4, 5\) cannot be multiplied"),
        ("", ((2, 3, 4), (3, 4, 5)), "cannot be multiplied"),
        ("", ((3,), (3, 4)), "cannot be multiplied"),
        ("transpose_b: true", ((2, 3, 4, 5), (5, 5)), "the second turned cannot be multiplied"),
        ("dim_1: 2 dim_2: 3 dim_3: 4", ((2, 3), (3, 3)), r"read as \(2, 3\) and \(4, 3\) cannot be multiplied"),
    ],
)
def test_matrices_that_do_not_fit_are_told(fields: str, shapes: tuple[tuple[int, ...], ...], said: str) -> None:
    with pytest.raises(ShapeError, match=said):
        build(f'type: "MatMul" matmul_param {{ {fields} }}', *shapes)


def test_fields_that_no_fork_takes_together_are_told() -> None:
    with pytest.raises(UnsupportedParameterError, match="dim_1, dim_2 and dim_3 are for two bottoms"):
        build('type: "MatMul" matmul_param { dim_1: 1 transpose_a: true }', (1, 1), (1, 1))
    with pytest.raises(UnsupportedParameterError, match=r"blob_shape is \[\]; a layer with one bottom needs a blob"):
        build('type: "MatMul"', (2, 3))
