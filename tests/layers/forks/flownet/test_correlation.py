"""Correlation and Correlation1D against plain loops."""

from __future__ import annotations

import pytest
import torch

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
