"""DetectionLoss against plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from tests.layers.forks.mscnn.heads import FIELDS, HEAD, LABEL, head_and_label
from tests.layers.single import build


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_detection_loss_adds_up_places_and_coordinates(smooth: bool, weighted: bool) -> None:
    fields = f"{FIELDS} lambda: 0.5 sample_mode: 'all' bg_threshold: 0.6 bb_smooth: {str(smooth).lower()}"
    text = f'type: "DetectionLoss" detection_loss_param {{ {fields} iou_weighted: {str(weighted).lower()} }}'
    head, label = head_and_label(1)
    loss = build(text, HEAD, LABEL)(head, label)
    classes, coordinates, places, boxes = 0.0, 0.0, 0, 0
    for n in range(2):
        for h in range(3):
            for w in range(4):
                values, target = head[n, :, h, w].tolist(), label[n, :, h, w].tolist()
                c = int(target[0])
                if c == 0 and target[5] >= 0.6:
                    continue
                places += 1
                total = sum(math.exp(v) for v in values[:3])
                classes -= math.log(math.exp(values[c]) / total) * (target[5] if weighted and c else 1)
                if c == 0:
                    continue
                boxes += 1
                wanted = [(target[1] - (w + 0.5) * 8) / 20, (target[2] - (h + 0.5) * 8) / 30]
                wanted += [math.log(target[3] / 20), math.log(target[4] / 30)]
                bounds = [0.5, 0.5, math.log(2), math.log(2)]
                for v, t, bound in zip(values[3:], wanted, bounds, strict=True):
                    d = abs(min(max(v, -bound), bound) - t)
                    coordinates += 0.5 * d * d if not smooth or d < 1 else d - 0.5
    box_loss = 0.5 * coordinates / (4 * boxes)
    assert loss.flatten().tolist() == pytest.approx([classes / places + box_loss, box_loss])


def test_hard_background_is_what_looks_most_like_foreground() -> None:
    head, label = torch.zeros(1, 6, 1, 8, dtype=torch.float64), torch.zeros(1, 6, 1, 8, dtype=torch.float64)
    head[0, 1, 0] = torch.arange(8)
    label[0, 5, 0, 7] = 1  # too near to a true box to count as background
    text = "cls_num: 2 field_w: 8 field_h: 8 downsample_rate: 8 sample_mode: 'bootstrap'"
    layer = build(f'type: "DetectionLoss" detection_loss_param {{ {text} }}', (1, 6, 1, 8), (1, 6, 1, 8))
    wanted = sum(math.log(1 + math.exp(score)) for score in (3, 4, 5, 6)) / 4
    assert layer(head, label).flatten()[0].item() == pytest.approx(wanted)


@pytest.mark.parametrize("mode", ["random", "mixture"])
def test_random_background_is_eligible(mode: str) -> None:
    head, label = head_and_label(3)
    text = f'type: "DetectionLoss" detection_loss_param {{ {FIELDS} sample_mode: "{mode}" pos_neg_weighted: true }}'
    loss = build(text, HEAD, LABEL)(head.requires_grad_(), label)
    loss.sum().backward()
    assert head.grad is not None
    forbidden = (label[:, 0] == 0) & (label[:, 5] >= 0.5)
    assert not head.grad.permute(0, 2, 3, 1)[forbidden].any()
    assert head.grad.permute(0, 2, 3, 1)[label[:, 0] > 0].any(1).all()


def test_a_compiled_layer_gives_the_same() -> None:
    fields = f"{FIELDS} lambda: 0.5 sample_mode: 'all'"
    layer = build(f'type: "DetectionLoss" detection_loss_param {{ {fields} }}', HEAD, LABEL)
    head, label = head_and_label(1)
    found = torch.compile(layer, backend="eager")(head, label)
    torch.testing.assert_close(found, layer(head, label))
