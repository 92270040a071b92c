"""Eltwise, Reduction, ArgMax and Tile against plain loops."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build

SHAPE = (2, 3, 5, 4)


def _bottoms(number: int) -> list[torch.Tensor]:
    return [torch.randn(SHAPE, dtype=torch.float64).requires_grad_() for _ in range(number)]


@pytest.mark.parametrize("number", [2, 3, 4])
@pytest.mark.parametrize("operation", ["PROD", "SUM", "MAX"])
def test_eltwise_combines_element_by_element(operation: str, number: int) -> None:
    combine = {"PROD": math.prod, "SUM": sum, "MAX": max}[operation]
    bottoms = _bottoms(number)
    layer = build(f'type: "Eltwise" eltwise_param {{ operation: {operation} }}', *[SHAPE] * number)
    wanted = [combine(values) for values in zip(*(b.flatten().tolist() for b in bottoms), strict=True)]
    torch.testing.assert_close(layer(*bottoms).flatten().tolist(), wanted)
    assert torch.autograd.gradcheck(layer, bottoms, fast_mode=True)


def test_eltwise_sum_weighs_by_coeff() -> None:
    layer = build('type: "Eltwise" eltwise_param { coeff: 0.5 coeff: -2 coeff: 1 }', *[SHAPE] * 3)
    a, b, c = _bottoms(3)
    torch.testing.assert_close(layer(a, b, c), 0.5 * a - 2 * b + c)
    assert torch.autograd.gradcheck(layer, (a, b, c), fast_mode=True)


def test_eltwise_max_gives_ties_to_the_second_then_only_to_larger() -> None:
    layer = build('type: "Eltwise" eltwise_param { operation: MAX }', (4,), (4,), (4,))
    values = ([1.0, 2.0, 0.0, 5.0], [1.0, 1.0, 0.0, 5.0], [1.0, 2.0, 3.0, 4.0])
    bottoms = [torch.tensor(value, requires_grad=True) for value in values]
    layer(*bottoms).sum().backward()
    grads = [bottom.grad.tolist() for bottom in bottoms if bottom.grad is not None]
    assert grads == [[0, 1, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0]]


def test_eltwise_product_gradient_divides_where_asked() -> None:
    values = torch.tensor([2.0, 0.0]), torch.tensor([3.0, 4.0])
    grads = {}
    for stable in ("true", "false"):
        fields = f"operation: PROD stable_prod_grad: {stable}"
        bottoms = [value.clone().requires_grad_() for value in values]
        build(f'type: "Eltwise" eltwise_param {{ {fields} }}', (2,), (2,))(*bottoms).sum().backward()
        grads[stable] = bottoms[0].grad
    torch.testing.assert_close(grads["true"], torch.tensor([3.0, 4.0]))
    torch.testing.assert_close(grads["false"], torch.tensor([3.0, math.nan]), equal_nan=True)  # 0 / 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("coeff: 1", "eltwise_param.coeff is given 1 times for 2 bottoms"),
        ("operation: MAX coeff: 1 coeff: 1", "eltwise_param.coeff goes with operation SUM only, found MAX"),
    ],
)
def test_eltwise_refuses_misplaced_coefficients(fields: str, message: str) -> None:
    with pytest.raises(UnsupportedParameterError, match=f"layer 'lay': {message}"):
        build(f'type: "Eltwise" eltwise_param {{ {fields} }}', SHAPE, SHAPE)


def test_eltwise_refuses_unequal_shapes() -> None:
    with pytest.raises(ShapeError, match=r"layer 'lay': bottom 1 'b1' has shape \(2, 3\), bottom 0 \(2, 4\)"):
        build('type: "Eltwise"', (2, 4), (2, 3))


REDUCE = {
    "SUM": sum,
    "ASUM": lambda values: sum(map(abs, values)),
    "SUMSQ": lambda values: sum(v * v for v in values),
    "MEAN": lambda values: sum(values) / len(values),
}


@pytest.mark.parametrize("axis", [0, 1, 3, -2])
@pytest.mark.parametrize("operation", REDUCE)
def test_reduction_of_all_axes_from_one_on(operation: str, axis: int) -> None:
    layer = build(f'type: "Reduction" reduction_param {{ operation: {operation} axis: {axis} coeff: 1.5 }}', SHAPE)
    (x,) = _bottoms(1)
    kept = SHAPE[: axis % 4]
    rows = x.detach().reshape(*kept, -1).reshape(math.prod(kept), -1).tolist()
    y = layer(x)
    assert y.shape == kept == layer.top_shapes([SHAPE])[0]
    torch.testing.assert_close(y.flatten().tolist(), [1.5 * REDUCE[operation](row) for row in rows])
    assert torch.autograd.gradcheck(layer, x, fast_mode=True)


@pytest.mark.parametrize(("axis", "top_k"), list(itertools.product([None, 1, 2, -1], [1, 3])))
def test_argmax_ranks_equal_values_by_larger_index(axis: int | None, top_k: int) -> None:
    x = torch.randint(0, 3, SHAPE).float()
    fields = f"top_k: {top_k}" + ("" if axis is None else f" axis: {axis}")
    y = build(f'type: "ArgMax" argmax_param {{ {fields} }}', SHAPE)(x)
    columns = x.flatten(1) if axis is None else x.movedim(axis, -1).reshape(-1, SHAPE[axis])
    wanted = [
        sorted(range(len(column)), key=lambda i, column=column: (column[i], i), reverse=True)[:top_k]
        for column in columns.tolist()
    ]
    if axis is None:
        assert y.shape == (2, 1, top_k, 1)
        assert y.flatten(1).tolist() == wanted
    else:
        assert y.shape[axis] == top_k
        assert y.movedim(axis, -1).reshape(-1, top_k).tolist() == wanted


def test_argmax_gives_values_when_asked() -> None:
    x = torch.tensor([[[0.5, 2.0], [1.0, -1.0]]])
    both = build('type: "ArgMax" argmax_param { out_max_val: true top_k: 2 }', (1, 2, 2))(x)
    assert both.tolist() == [[[1, 2], [2, 1]]]
    single = build('type: "ArgMax" argmax_param { out_max_val: true }', (2,))(torch.tensor([0.5, 2.0]))
    assert single.tolist() == [[[0], [0.5]], [[0], [2]]]  # one axis: images of one value each
    along = build('type: "ArgMax" argmax_param { out_max_val: true axis: 2 }', (1, 2, 2))(x)
    assert along.tolist() == [[[2], [1]]]


def test_argmax_refuses_more_than_there_are() -> None:
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': argmax_param\.top_k is 4; it must be 1 to 3"):
        build('type: "ArgMax" argmax_param { top_k: 4 axis: 1 }', SHAPE)


@pytest.mark.parametrize("axis", [0, 1, 3, -2])
def test_tile_repeats_whole_blocks(axis: int) -> None:
    layer = build(f'type: "Tile" tile_param {{ axis: {axis} tiles: 3 }}', SHAPE)
    (x,) = _bottoms(1)
    y = layer(x)
    assert y.shape == layer.top_shapes([SHAPE])[0]
    for copy in range(3):
        assert torch.equal(y.narrow(axis, copy * SHAPE[axis], SHAPE[axis]), x)
    assert torch.autograd.gradcheck(layer, x, fast_mode=True)


def test_tile_needs_its_count() -> None:
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': tile_param\.tiles is 0"):
        build('type: "Tile"', SHAPE)


@pytest.mark.parametrize("scale", [(2, 3), (2, 3, 1, 1)])
def test_axpy_scales_each_channel_of_each_item(scale: tuple[int, ...]) -> None:
    layer = build('type: "Axpy"', scale, SHAPE, SHAPE)
    a, x, y = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in (scale, SHAPE, SHAPE))
    top = layer(a, x, y)
    for n, c in itertools.product(range(2), range(3)):
        torch.testing.assert_close(top[n, c], a[n, c] * x[n, c] + y[n, c])
    assert torch.autograd.gradcheck(layer, (a, x, y), fast_mode=True)


def test_axpy_refuses_shapes_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match="layer 'lay': bottoms have shapes"):
        build('type: "Axpy"', (2, 4), SHAPE, SHAPE)
