"""Crop against plain loops."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build


@pytest.mark.parametrize(
    ("fields", "reference", "starts"),
    [
        ("", (1, 1, 3, 2), (0, 0, 0, 0)),
        ("offset: 2", (1, 1, 3, 2), (0, 0, 2, 2)),
        ("axis: 1 offset: 1 offset: 0 offset: 3", (9, 2, 3, 2), (0, 1, 0, 3)),
        ("axis: -1 offset: 4", (9, 9, 9, 2), (0, 0, 0, 4)),
    ],
)
def test_crop_takes_the_window_at_the_offset(fields: str, reference: tuple[int, ...], starts: tuple[int, ...]) -> None:
    shape = (2, 3, 5, 6)
    layer = build(f'type: "Crop" crop_param {{ {fields} }}', shape, reference)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    y = layer(x, torch.zeros(reference))
    assert y.shape == layer.top_shapes([shape, reference])[0]
    for index in torch.cartesian_prod(*(torch.arange(size) for size in y.shape)).tolist():
        assert y[tuple(index)] == x[tuple(i + start for i, start in zip(index, starts, strict=True))]
    assert torch.autograd.gradcheck(lambda bottom: layer(bottom, torch.zeros(reference)), x)


@pytest.mark.parametrize(
    ("fields", "reference", "error", "message"),
    [
        ("offset: 3", (1, 1, 3, 3), ShapeError, "axis 2 of size 5 cannot be cropped to 3 from offset 3"),
        (
            "offset: 1 offset: 1 offset: 1",
            (1, 1, 3, 2),
            UnsupportedParameterError,
            "crop_param.offset is given 3 times",
        ),
        ("", (3, 2), ShapeError, r"bottom 1 'b1' has shape \(3, 2\), wanted 4 axes"),
    ],
)
def test_crop_refuses_windows_outside(
    fields: str, reference: tuple[int, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"layer 'lay': {message}"):
        build(f'type: "Crop" crop_param {{ {fields} }}', (2, 3, 5, 6), reference)
