"""MarginInnerProduct and LargeMarginInnerProduct against plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from caffe_compat.layers.forks.faces.margin_inner_product import margin
from tests.layers.single import build

FILLER = "{ type: 'gaussian' std: 1 }"


@pytest.mark.parametrize("times", [2, 3, 4])
def test_the_margin_falls_with_the_angle(times: int) -> None:
    for step in range(1, 60):
        angle = math.pi * step / 60
        k = math.floor(angle * times / math.pi + 1e-9)
        wanted = (-1) ** k * math.cos(times * angle) - 2 * k
        if abs(angle * times / math.pi - round(angle * times / math.pi)) > 1e-6:
            assert margin(torch.tensor(math.cos(angle), dtype=torch.float64), times).item() == pytest.approx(wanted)


KINDS = ["SINGLE", "DOUBLE", "TRIPLE", "QUADRUPLE"]


def _psi(cosine: float, times: int) -> float:
    angle = math.acos(cosine)
    k = math.floor(angle * times / math.pi)
    return (-1) ** k * math.cos(times * angle) - 2 * k


@pytest.mark.parametrize("times", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("kind", "field"), [("MarginInnerProduct", "margin"), ("LargeMarginInnerProduct", "largemargin")]
)
def test_the_score_of_the_label_gets_the_margin(kind: str, field: str, times: int) -> None:
    fields = f"num_output: 3 type: {KINDS[times - 1]} base: 8 gamma: 0.5 power: 2 lambda_min: 1 weight_filler {FILLER}"
    layer = build(f'type: "{kind}" {field}_inner_product_param {{ {fields} }}', (6, 4), (6,), tops=2).double()
    x, labels = torch.randn(6, 4, dtype=torch.float64), [0, 1, 2, 0, 1, 2]
    for share in (8 / 1.5**2, 8 / 2**2, 8 / 2.5**2, 1):
        scores, given = layer(x, torch.tensor(labels))
        assert given.tolist() == pytest.approx([share])
        weight = layer.blobs[0].tolist()
        if kind == "MarginInnerProduct":
            assert [sum(v * v for v in row) for row in weight] == pytest.approx([1, 1, 1])
        for m, row in enumerate(x.tolist()):
            for j in range(3):
                product = sum(a * b for a, b in zip(row, weight[j], strict=True))
                size = math.hypot(*row) * math.hypot(*weight[j])
                wanted = product
                if j == labels[m] and times > 1:
                    wanted = (share * product + size * _psi(product / size, times)) / (1 + share)
                assert scores[m, j].item() == pytest.approx(wanted, abs=1e-7)


@pytest.mark.parametrize("times", [2, 3, 4])
def test_the_angular_gradient_is_a_unit_combination_of_weight_and_input(times: int) -> None:
    fields = f"num_output: 2 type: {KINDS[times - 1]} base: 3 gamma: 0 weight_filler {FILLER}"
    text = f'type: "MarginInnerProduct" margin_inner_product_param {{ {fields} }}'
    layer = build(text, (1, 3), (1,), tops=2).double()
    x = torch.tensor([[0.3, -0.8, 0.5]], dtype=torch.float64, requires_grad=True)
    scores, _ = layer(x, torch.tensor([1]))
    scores[0, 1].backward()
    w, v = layer.blobs[0][1].detach(), x.detach()[0]
    size = v.norm()
    c = float(w @ v / size)
    s0, s1 = math.copysign(1, c), math.copysign(1, abs(c) - 0.5)
    s3 = s0 * math.copysign(1, 2 * c * c - 1)
    s2, s4 = s0 * (1 + s1) - 2, 2 * s0 + s3 - 3
    by_w, by_x = {
        2: (4 * s0 * c, 2 * s0 * c**2 + 1),
        3: (s1 * (12 * c**2 - 3), 8 * s1 * c**3 - s2),
        4: (s3 * (32 * c**3 - 16 * c), s3 * (24 * c**4 - 8 * c**2 - 1) - s4),
    }[times]
    along = -by_x / float(size)
    norm = math.hypot(by_w, along)
    assert x.grad is not None
    torch.testing.assert_close(x.grad[0], (by_w / norm * w + along / norm * v) / 4 + 0.75 * w)
    assert layer.blobs[0].grad is not None
    torch.testing.assert_close(layer.blobs[0].grad[1], v)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(UnsupportedParameterError, match="layer 'lay': num_output is 0"):
        build('type: "MarginInnerProduct"', (2, 3), (2,), tops=2)
    with pytest.raises(ShapeError, match="layer 'lay': label 'b1' has shape"):
        build('type: "MarginInnerProduct" margin_inner_product_param { num_output: 2 }', (2, 3), (3,), tops=2)
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': .*distance_type"):
        build('type: "CenterLoss" center_loss_param { num_output: 2 distance_type: "L1" }', (2, 3), (2,))
