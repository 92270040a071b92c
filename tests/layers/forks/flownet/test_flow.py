"""The layers of FlowNet 2.0 against plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build

SHAPE = (2, 3, 6, 7)


def _at(image: torch.Tensor, n: int, c: int, y: int, x: int) -> float:
    """A value of the padded image: 0 outside."""
    if 0 <= y < image.shape[2] and 0 <= x < image.shape[3]:
        return image[n, c, y, x].item()
    return 0.0


@pytest.mark.parametrize("kind", ["MULTIPLY", "SUBTRACT"])
@pytest.mark.parametrize(("kernel", "reach", "pad", "stride_1", "stride_2"), [(1, 2, 2, 1, 1), (3, 4, 4, 2, 2)])
def test_correlation_compares_displaced_patches(
    kind: str, kernel: int, reach: int, pad: int, stride_1: int, stride_2: int
) -> None:
    fields = f"kernel_size: {kernel} max_displacement: {reach} pad: {pad} stride_1: {stride_1} stride_2: {stride_2} "
    layer = build(f'type: "Correlation" correlation_param {{ {fields} correlation_type: {kind} }}', SHAPE, SHAPE)
    a, b = (torch.randn(SHAPE, dtype=torch.float64) for _ in range(2))
    top = layer(a, b)
    radius = reach // stride_2
    assert tuple(top.shape) == layer.top_shapes([SHAPE, SHAPE])[0]
    assert top.shape[1] == (2 * radius + 1) ** 2
    for k in range(top.shape[1]):
        dy, dx = (k // (2 * radius + 1) - radius) * stride_2, (k % (2 * radius + 1) - radius) * stride_2
        for i in range(top.shape[2]):
            for j in range(top.shape[3]):
                total = 0.0
                for v in range(kernel):
                    for u in range(kernel):
                        y, x = i * stride_1 + reach - pad + v, j * stride_1 + reach - pad + u
                        for c in range(3):
                            one, other = _at(a, 1, c, y, x), _at(b, 1, c, y + dy, x + dx)
                            total += one * other if kind == "MULTIPLY" else abs(one - other)
                assert top[1, k, i, j].item() == pytest.approx(total / (kernel**2 * 3))


def test_correlation_along_x_keeps_the_rows() -> None:
    layer = build('type: "Correlation1D" correlation_param { max_displacement: 1 pad: 1 }', SHAPE, SHAPE)
    a, b = (torch.randn(SHAPE, dtype=torch.float64) for _ in range(2))
    top = layer(a, b)
    assert top.shape == (2, 3, 6, 7)
    for k in range(3):
        for j in range(7):
            wanted = sum(a[0, c, 2, j].item() * _at(b, 0, c, 2, j + k - 1) for c in range(3)) / 3
            assert top[0, k, 2, j].item() == pytest.approx(wanted)


@pytest.mark.parametrize(("fill", "value"), [("ZERO", 0.0), ("NOT_A_NUMBER", math.nan)])
def test_warped_images_are_sampled_where_the_flow_points(fill: str, value: float) -> None:
    flow = (2, 2, 6, 7)
    layer = build(f'type: "FlowWarp" flow_warp_param {{ fill_value: {fill} }}', SHAPE, flow)
    image, moves = torch.randn(SHAPE, dtype=torch.float64), torch.randn(flow, dtype=torch.float64) * 2
    top = layer(image, moves)
    for n in range(2):
        for i in range(6):
            for j in range(7):
                x, y = j + moves[n, 0, i, j].item(), i + moves[n, 1, i, j].item()
                if not (0 <= x < 7 and 0 <= y < 6):
                    assert top[n, 0, i, j].item() == pytest.approx(value, nan_ok=True)
                    continue
                left, upper = int(x), int(y)
                right, lower = min(left + 1, 6), min(upper + 1, 5)
                p, q = x - left, y - upper
                wanted = (image[n, 0, upper, left] * (1 - p) + image[n, 0, upper, right] * p) * (1 - q)
                wanted += (image[n, 0, lower, left] * (1 - p) + image[n, 0, lower, right] * p) * q
                assert top[n, 0, i, j].item() == pytest.approx(wanted.item())


def test_the_small_ones() -> None:
    x = torch.tensor([[[[3.0]], [[-4.0]]]])
    assert build('type: "ChannelNorm"', (1, 2, 1, 1))(x).tolist() == [[[[5]]]]
    assert build('type: "NegReLU" relu_param { negative_slope: 0.5 }', x.shape)(x).flatten().tolist() == [1.5, -4]
    fields = "operation: SUBTRACT value: 1 value: 2 input_scale: 2 mean_scale: 3 output_scale: 10"
    assert build(f'type: "Mean" mean_param {{ {fields} }}', x.shape)(x).flatten().tolist() == [30, -140]


def test_another_size_is_built_and_does_not_run() -> None:
    layer = build('type: "Resample" resample_param { height: 9 width: 8 }', SHAPE)
    assert layer.top_shapes([SHAPE]) == [(2, 3, 9, 8)]
    with pytest.raises(UnsupportedParameterError, match="layer 'lay': type Resample runs only where the size stays"):
        layer(torch.zeros(SHAPE))
    x = torch.randn(SHAPE)
    assert torch.equal(build('type: "Downsample"', SHAPE, SHAPE)(x, x), x)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(UnsupportedParameterError, match="layer 'lay': correlation_param needs max_displacement"):
        build('type: "Correlation"', SHAPE, SHAPE)
    with pytest.raises(ShapeError, match="layer 'lay': displacements of 9 do not fit"):
        build('type: "Correlation" correlation_param { max_displacement: 9 }', SHAPE, SHAPE)
    with pytest.raises(ShapeError, match=r"layer 'lay': .*wanted \(N, 2, H, W\) behind"):
        build('type: "FlowWarp"', SHAPE, SHAPE)
    with pytest.raises(UnsupportedParameterError, match="layer 'lay': mean_param needs value"):
        build('type: "Mean"', SHAPE)
