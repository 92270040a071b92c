"""Reorg against Darknet's walk over memory."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from tests.layers.single import build

SHAPE = (2, 8, 4, 6)


def _darknet_walk(shape: tuple[int, ...], stride: int) -> list[tuple[int, int]]:
    """Pairs of places in two memories, as Darknet's reorg_cpu counts them: of the planes, and of the squares."""
    n, c, h, w = shape
    planes, pairs = c // stride**2, []
    for b, k, j, i in itertools.product(range(n), range(c), range(h), range(w)):
        offset, plane = divmod(k, planes)
        row, column = j * stride + offset // stride, i * stride + offset % stride
        square = column + w * stride * (row + h * stride * (plane + planes * b))
        pairs.append((i + w * (j + h * (k + c * b)), square))
    return pairs


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("shape", "stride"), [(SHAPE, 2), ((2, 18, 3, 6), 3)])
def test_reorg_is_darknets_walk_over_memory(shape: tuple[int, ...], stride: int, reverse: bool) -> None:
    layer = build(f'type: "Reorg" reorg_param {{ stride: {stride} reverse: {str(reverse).lower()} }}', shape)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    memory = torch.zeros(x.numel(), dtype=torch.float64)
    for plane, square in _darknet_walk(shape, stride):
        if reverse:
            memory[square] = x.detach().flatten()[plane]
        else:
            memory[plane] = x.detach().flatten()[square]
    n, c, h, w = shape
    y = layer(x)
    far = (n, c // stride**2, h * stride, w * stride) if reverse else (n, c * stride**2, h // stride, w // stride)
    assert y.shape == layer.top_shapes([shape])[0] == far
    assert torch.equal(y.flatten(), memory)
    assert torch.autograd.gradcheck(layer, x, fast_mode=True)


def test_reorg_is_opencvs_reading_of_darknet() -> None:
    cv2 = pytest.importorskip("cv2", reason="needs opencv-python-headless")
    net = cv2.dnn.readNetFromDarknet(
        np.frombuffer(b"[net]\nwidth=6\nheight=4\nchannels=8\n\n[reorg]\nstride=2\n", np.uint8)
    )
    x = np.random.default_rng(3).standard_normal((1, 8, 4, 6)).astype(np.float32)
    net.setInput(x)
    layer = build('type: "Reorg" reorg_param { stride: 2 }', x.shape)
    assert np.array_equal(layer(torch.from_numpy(x)).numpy(), net.forward())
