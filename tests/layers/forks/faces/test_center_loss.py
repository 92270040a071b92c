"""CenterLoss against plain loops."""

from __future__ import annotations

import pytest
import torch

from tests.layers.single import build

FILLER = "{ type: 'gaussian' std: 1 }"


def test_centre_loss_pulls_items_and_centres_together() -> None:
    fields = f"num_output: 3 center_filler {FILLER}"
    layer = build(f'type: "CenterLoss" center_loss_param {{ {fields} }}', (4, 2), (4,)).double()
    x = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    centres = layer.blobs[0].detach().clone()
    labels = [2, 0, 2, 2]
    loss = layer(x, torch.tensor(labels))
    distance = [[x[m, k].item() - centres[c, k].item() for k in range(2)] for m, c in enumerate(labels)]
    assert loss.item() == pytest.approx(sum(d * d for row in distance for d in row) / 8)
    (3 * loss).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [pytest.approx([3 * d / 4 for d in row]) for row in distance]
    assert layer.blobs[0].grad is not None
    found = layer.blobs[0].grad.tolist()
    assert found[0] == pytest.approx([-d / 2 for d in distance[1]])
    assert found[1] == [0, 0]
    assert found[2] == pytest.approx([-(distance[0][k] + distance[2][k] + distance[3][k]) / 4 for k in range(2)])


def test_a_compiled_layer_has_the_same_gradients() -> None:
    fields = f"num_output: 3 center_filler {FILLER}"
    layer = build(f'type: "CenterLoss" center_loss_param {{ {fields} }}', (4, 2), (4,))
    x, labels = torch.randn(4, 2, requires_grad=True), torch.tensor([2.0, 0, 2, 2])
    wanted, found = (
        torch.autograd.grad(made(x, labels), [x, layer.blobs[0]])
        for made in (layer, torch.compile(layer, backend="aot_eager"))
    )
    torch.testing.assert_close(found, wanted)
