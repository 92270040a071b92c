"""Padding against a walk over the top's places, for the fields of each fork."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.proto.model import read_model
from tests.layers.single import build

PLANES = (2, 3, 5, 6)
CASES = {  # fields: rows above and below, columns left and right, and the value around
    "": ((0, 0, 0, 0), 0),
    "pad_t: 1 pad_b: 2 pad_l: 3 pad_r: 0": ((1, 2, 3, 0), 0),
    "pad_method: CONSTANT pad_r: 2 pad_value: -7": ((0, 0, 0, 2), -7),
    "pad: 2": ((2, 2, 2, 2), 0),
    "pad: 2 pad_h: 7 pad_w_left: 7": ((2, 2, 2, 2), 0),
    "pad_h: 1 pad_w: 3": ((1, 1, 3, 3), 0),
    "pad_w: 3 pad_h_top: 2 pad_h_bottom: 1 pad_w_right: 9": ((2, 1, 3, 3), 0),
    "pad_h_bottom: 4 pad_w_left: 1": ((0, 4, 1, 0), 0),
    "pad: 9 pad_to_power_of_2: true": ((1, 2, 1, 1), 0),
    "pad_beg: 1 pad_end: 2": ((1, 2, 1, 2), 0),
    "pad_beg: -1 pad_end: -2": ((-1, -2, -1, -2), 0),
    "pad_beg: -3": ((-3, 0, -3, 0), 0),
}


def around(x: Tensor, margins: tuple[int, int, int, int], value: float) -> Tensor:
    above, below, left, right = margins
    number, channels, rows, columns = x.shape
    top = torch.full((number, channels, rows + above + below, columns + left + right), float(value), dtype=x.dtype)
    for i in range(top.shape[2]):
        for j in range(top.shape[3]):
            if 0 <= i - above < rows and 0 <= j - left < columns:
                top[:, :, i, j] = x[:, :, i - above, j - left]
    return top


@pytest.mark.parametrize("fields", CASES)
def test_margins_are_those_of_the_fork_whose_fields_are_given(fields: str) -> None:
    x = torch.randn(PLANES, dtype=torch.float64, requires_grad=True)
    layer = build(f'type: "Padding" padding_param {{ {fields} }}', PLANES)
    wanted = around(x.detach(), *CASES[fields])
    assert torch.equal(layer(x), wanted)
    assert layer.top_shapes([PLANES]) == [tuple(wanted.shape)]
    assert torch.autograd.gradcheck(layer, x, fast_mode=True)


def test_mirrored_margins_begin_with_the_edge() -> None:
    x = torch.randn(PLANES, dtype=torch.float64, requires_grad=True)
    layer = build(
        'type: "Padding" padding_param { type: MIRROR pad_up: 2 pad_down: 5 pad_left: 6 pad_right: 1 }', PLANES
    )
    rows = [1, 0, 0, 1, 2, 3, 4, 4, 3, 2, 1, 0]
    columns = [5, 4, 3, 2, 1, 0, 0, 1, 2, 3, 4, 5, 5]
    wanted = torch.stack([torch.stack([x.detach()[:, :, i, j] for j in columns], -1) for i in rows], 2)
    assert torch.equal(layer(x), wanted)
    assert torch.autograd.gradcheck(layer, x, fast_mode=True)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("pad: 1 pad_beg: 1", "has pad of ctensmeyer/caffe and pad_beg of .*; give those of one fork"),
        ("pad_beg: 1 pad_end: -1", "pad_beg is 1 and pad_end -1; both must be positive or both negative"),
        ("pad_up: 1", "type is ZERO, which its fork does not compute; give MIRROR, or pad_t"),
    ],
)
def test_fields_that_no_fork_takes_together_are_told(fields: str, said: str) -> None:
    with pytest.raises(UnsupportedParameterError, match=said):
        build(f'type: "Padding" padding_param {{ {fields} }}', PLANES)


def test_planes_too_small_are_told() -> None:
    with pytest.raises(ShapeError, match="padding makes -1 x 0 of 5 x 6"):
        build('type: "Padding" padding_param { pad_beg: -3 pad_end: -3 }', PLANES)
    with pytest.raises(ShapeError, match="5 x 6 has too few rows or columns to mirror 6 above"):
        build('type: "Padding" padding_param { type: MIRROR pad_up: 6 }', PLANES)
    with pytest.raises(ShapeError, match=r"\(2, 3\) is not \(N, C, H, W\)"):
        build('type: "Padding" padding_param { pad: 1 }', (2, 3))


def test_the_old_form_of_deeplab_is_read(tmp_path) -> None:
    path = tmp_path / "old.prototxt"
    path.write_text(
        'input: "data" input_dim: 1 input_dim: 2 input_dim: 9 input_dim: 9\n'
        'layers { bottom: "data" top: "big" name: "big" type: INTERP interp_param { zoom_factor: 2 } }\n'
        'layers { bottom: "big" top: "cut" name: "cut" type: PADDING padding_param { pad_beg: -7 pad_end: -8 } }\n',
        encoding="utf-8",
    )
    layers = read_model(path).net.layer
    assert [layer.type for layer in layers] == ["Input", "Interp", "Padding"]
    assert (layers[2].padding_param.pad_beg, layers[2].padding_param.pad_end) == (-7, -8)
    assert layers[1].interp_param.zoom_factor == 2
