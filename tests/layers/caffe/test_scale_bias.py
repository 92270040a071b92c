"""Scale and Bias against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build


def _random(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)) * 2 + 1


OPERANDS = [  # axis, num_axes, shape of the operand for a bottom of (2, 3, 4, 5)
    (1, 1, (3,)),
    (0, 2, (2, 3)),
    (2, -1, (4, 5)),
    (-1, 1, (5,)),
    (1, 0, ()),
    (0, -1, (2, 3, 4, 5)),
]


@pytest.mark.parametrize("second_bottom", [False, True])
@pytest.mark.parametrize("bias_term", [False, True])
@pytest.mark.parametrize(("axis", "axes", "operand_shape"), OPERANDS)
def test_scale_multiplies_the_axes_it_covers(
    axis: int, axes: int, operand_shape: tuple[int, ...], bias_term: bool, second_bottom: bool
) -> None:
    shape = (2, 3, 4, 5)
    fields = f"axis: {axis} num_axes: {axes} bias_term: {str(bias_term).lower()}"
    filler = 'filler { type: "gaussian" } bias_filler { type: "gaussian" }'
    shapes = [shape, operand_shape] if second_bottom else [shape]
    layer = build(f'type: "Scale" scale_param {{ {fields} {filler} }}', *shapes).double()
    x = _random(shape).requires_grad_()
    scale = _random(operand_shape, 1).requires_grad_() if second_bottom else layer.blobs[0]
    bottoms = (x, scale) if second_bottom else (x,)
    assert layer.blob_shapes == [operand_shape] * ((not second_bottom) + bias_term)
    top, first = layer(*bottoms), axis % 4
    for place in np.ndindex(*shape):
        at = place[first : first + len(operand_shape)]
        expected = x[place] * scale[at] + (layer.blobs[-1][at] if bias_term else 0)
        assert top[place].item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize(("axis", "axes", "operand_shape"), OPERANDS)
def test_bias_adds_to_the_axes_it_covers(axis: int, axes: int, operand_shape: tuple[int, ...]) -> None:
    shape = (2, 3, 4, 5)
    layer = build(f'type: "Bias" bias_param {{ axis: {axis} num_axes: {axes} filler {{ type: "gaussian" }} }}', shape)
    x, first = _random(shape).float(), axis % 4
    top = layer(x)
    for place in np.ndindex(*shape):
        assert top[place] == x[place] + layer.blobs[0][place[first : first + len(operand_shape)]]
    two = build(f'type: "Bias" bias_param {{ axis: {axis} }}', shape, operand_shape)
    assert torch.equal(two(x, layer.blobs[0]), top)


@pytest.mark.parametrize("text", ['type: "Scale" scale_param { bias_term: true }', 'type: "Bias"'])
def test_the_gradient_of_scale_and_bias_is_the_derivative(text: str) -> None:
    layer = build(text, (2, 3, 2)).double()
    x = _random((2, 3, 2)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *blobs: layer(x), (x, *layer.blobs))


def test_scale_starts_as_one_and_its_bias_as_zero() -> None:
    layer = build('type: "Scale" scale_param { bias_term: true }', (2, 3))
    assert [blob.tolist() for blob in layer.blobs] == [[1] * 3, [0] * 3]
    assert build('type: "Bias"', (2, 3)).blobs[0].tolist() == [0] * 3


@pytest.mark.parametrize(
    ("text", "shapes", "error", "message"),
    [
        (
            'type: "Scale"',
            [(2, 3, 4), (4,)],
            ShapeError,
            r"operand \(4,\) does not match bottom \(2, 3, 4\) from axis 1",
        ),
        ('type: "Bias"', [(2, 3), (3, 4)], ShapeError, r"operand \(3, 4\) does not match bottom \(2, 3\)"),
        ('type: "Scale" scale_param { num_axes: 3 }', [(2, 3)], ShapeError, "axis 1 and num_axes 3 reach past bottom"),
        ('type: "Scale" scale_param { num_axes: -2 }', [(2, 3)], UnsupportedParameterError, "num_axes is -2"),
    ],
)
def test_operands_that_do_not_fit_are_named(
    text: str, shapes: list[tuple[int, ...]], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"layer 'lay': {message}"):
        build(text, *shapes)
