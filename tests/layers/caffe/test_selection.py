"""Crop, BatchReindex, Filter and Parameter."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
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


def test_crop_center_takes_as_much_from_both_ends() -> None:
    x = torch.randn(2, 3, 7, 6)
    sizes = "crop_size: 0 crop_size: 1 crop_size: 2 crop_size: 0"
    layer = build(f'type: "CropCenter" crop_center_param {{ {sizes} }}', (2, 3, 7, 6))
    assert torch.equal(layer(x), x[:, 1:2, 2:5])
    with pytest.raises(ShapeError, match=r"layer 'lay': crop_center_param.crop_size \[1\] leaves nothing"):
        build('type: "CropCenter" crop_center_param { crop_size: 1 }', (2, 3))


def test_batch_reindex_takes_the_items_named() -> None:
    layer = build('type: "BatchReindex"', (4, 3), (5,))
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([3.0, 0.0, 0.0, 2.0, 3.0])
    assert torch.equal(layer(x, index), x[[3, 0, 0, 2, 3]])
    assert torch.autograd.gradcheck(lambda bottom: layer(bottom, index), x)


@pytest.mark.parametrize("bad", [4.0, -1.0])
def test_batch_reindex_names_an_index_outside(bad: float) -> None:
    layer = build('type: "BatchReindex"', (4, 3), (2,))
    with pytest.raises(DataError, match=f"layer 'lay': bottom 1 'b1' holds index {bad:g}, wanted 0 to 3"):
        layer(torch.zeros(4, 3), torch.tensor([0.0, bad]))


def test_filter_keeps_what_is_selected_in_every_bottom() -> None:
    layer = build('type: "Filter"', (4, 3), (4, 2, 2), (4, 1), tops=2)
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    z = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
    selector = torch.tensor([[1.0], [0.0], [0.0], [-0.5]])
    kept_x, kept_z = layer(x, z, selector)
    assert torch.equal(kept_x, x[[0, 3]])
    assert torch.equal(kept_z, z[[0, 3]])
    assert torch.autograd.gradcheck(lambda a, b: layer(a, b, selector), (x, z))
    assert layer(x, z, torch.zeros(4, 1))[0].shape == (0, 3)


@pytest.mark.parametrize(
    ("shapes", "tops"), [(((4, 3), (4, 2)), 1), (((4, 3), (3,)), 1), (((4, 3), ()), 1), (((4, 3), (4, 3), (4,)), 1)]
)
def test_filter_refuses_a_selector_that_does_not_fit(shapes: tuple[tuple[int, ...], ...], tops: int) -> None:
    with pytest.raises(ShapeError, match="layer 'lay': "):
        build('type: "Filter"', *shapes, tops=tops)


def test_parameter_gives_its_blob() -> None:
    layer = build('type: "Parameter" parameter_param { shape { dim: 2 dim: 3 } }')
    assert layer.blobs[0].shape == (2, 3)
    layer().sum().backward()
    assert torch.equal(layer.blobs[0].grad, torch.ones(2, 3))
