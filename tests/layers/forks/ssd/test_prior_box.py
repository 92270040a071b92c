"""PriorBox against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from caffe_compat.errors import UnsupportedParameterError
from tests.layers.single import build


def test_prior_boxes_stand_around_every_place_in_ssds_order() -> None:
    fields = "min_size: 30 min_size: 50 max_size: 60 max_size: 90 aspect_ratio: 2 aspect_ratio: 3 aspect_ratio: 2"
    layer = build(
        f'type: "PriorBox" prior_box_param {{ {fields} variance: 0.1 variance: 0.2 variance: 0.3 variance: 0.4 }}',
        (2, 4, 3, 5),
        (2, 3, 300, 200),
    )
    top = layer(torch.zeros(2, 4, 3, 5), torch.zeros(2, 3, 300, 200))
    assert top.shape == layer.top_shapes([(2, 4, 3, 5), (2, 3, 300, 200)])[0]
    wanted = []
    for row in range(3):
        for column in range(5):
            x, y = (column + 0.5) * 200 / 5, (row + 0.5) * 300 / 3
            for small, large in ((30, 60), (50, 90)):
                sizes = [(small, small), (math.sqrt(small * large),) * 2]
                for ratio in (2, 1 / 2, 3, 1 / 3):
                    sizes.append((small * math.sqrt(ratio), small / math.sqrt(ratio)))
                for w, h in sizes:
                    wanted.append([(x - w / 2) / 200, (y - h / 2) / 300, (x + w / 2) / 200, (y + h / 2) / 300])
    np.testing.assert_allclose(top[0, 0].numpy().reshape(-1, 4), wanted, atol=1e-6)
    np.testing.assert_allclose(top[0, 1].numpy().reshape(-1, 4), [[0.1, 0.2, 0.3, 0.4]] * len(wanted), rtol=1e-7)


def test_prior_boxes_follow_step_offset_clip_and_image_size() -> None:
    fields = "min_size: 4 clip: true step: 10 offset: 0 img_size: 20 flip: false aspect_ratio: 4"
    layer = build(f'type: "PriorBox" prior_box_param {{ {fields} }}', (1, 1, 1, 2), (1, 1, 9, 9))
    top = layer(torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 9, 9))
    wanted = [[0, 0, 0.1, 0.1], [0, 0, 0.2, 0.05], [0.4, 0, 0.6, 0.1], [0.3, 0, 0.7, 0.05]]
    np.testing.assert_allclose(top[0, 0].numpy().reshape(-1, 4), wanted, atol=1e-7)
    assert (top[0, 1] == np.float32(0.1)).all()


def test_faceboxes_priors_stand_densely() -> None:
    fields = "min_size: 32 min_size: 64 min_size: 128 step: 32 offset: 0.5"
    layer = build(f'type: "PriorBox" prior_box_param {{ {fields} }}', (1, 1, 2, 3), (1, 3, 64, 96))
    top = layer(torch.zeros(1, 1, 2, 3), torch.zeros(1, 3, 64, 96))
    wanted = []
    for y in (16, 48):
        for x in (16, 48, 80):
            centres = [(x + j, y + i, 31) for i in (-16, -8, 0, 8) for j in (-16, -8, 0, 8)]
            centres += [(x + j, y + i, 63) for i in (-16, 0) for j in (-16, 0)] + [(x, y, 127)]
            for cx, cy, size in centres:
                half = size / 2
                wanted.append([(cx - half) / 96, (cy - half) / 64, (cx + half) / 96, (cy + half) / 64])
    np.testing.assert_allclose(top[0, 0].numpy().reshape(-1, 4), wanted, atol=1e-6)


@pytest.mark.parametrize(
    "fields", ["", "min_size: 0", "min_size: 3 max_size: 3", "min_size: 3 variance: 1 variance: 1"]
)
def test_impossible_priors_are_refused(fields: str) -> None:
    with pytest.raises(UnsupportedParameterError, match="layer 'lay': prior_box_param"):
        build(f'type: "PriorBox" prior_box_param {{ {fields} }}', (1, 1, 1, 2), (1, 1, 9, 9))


def test_a_thread_gets_the_boxes_of_its_own_image_whatever_another_makes_meanwhile() -> None:
    shapes = ((1, 1, 1, 2), (1, 1, 9, 9))
    layer, alone = (build('type: "PriorBox" prior_box_param { min_size: 4 }', *shapes) for _ in range(2))
    others: list[torch.Tensor] = []

    class Shared(type(layer)):  # type: ignore[misc]
        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if name == "_made" and not others:
                others.append(torch.zeros(1, 1, 2, 3))
                self(others[0], torch.zeros(1, 1, 20, 30))

    layer.__class__ = Shared
    given = [torch.zeros(shape) for shape in shapes]
    assert torch.equal(layer(*given), alone(*given)) and others
