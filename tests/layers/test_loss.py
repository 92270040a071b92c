"""EuclideanLoss, HingeLoss, ContrastiveLoss and InfogainLoss against plain loops and Caffe's rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from caffe_compat.proto.binary import write_blob
from tests.layers.single import build
from tests.reference.losses import contrastive_loss, hinge_loss, infogain_loss


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64).requires_grad_()


def test_losses_weigh_one_by_default() -> None:
    assert build('type: "EuclideanLoss"', (2, 3), (2, 3)).default_loss_weight == 1
    assert build('type: "ReLU"', (2, 3)).default_loss_weight == 0


def test_euclidean_loss_is_half_the_mean_square_distance_for_both_bottoms() -> None:
    a, b = _random(3, 2, 5), _random(3, 10)
    layer = build('type: "EuclideanLoss"', (3, 2, 5), (3, 10))
    wanted = sum((x - y) ** 2 for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)) / 6
    assert float(layer(a, b).detach()) == pytest.approx(wanted, rel=1e-12)
    assert torch.autograd.gradcheck(layer, (a, b))


def test_euclidean_loss_needs_equal_counts() -> None:
    with pytest.raises(ShapeError, match=r"layer 'lay': bottoms 'b0' \(3, 2\) and 'b1' \(3, 3\) must hold equally"):
        build('type: "EuclideanLoss"', (3, 2), (3, 3))


@pytest.mark.parametrize(("norm", "power"), [("L1", 1), ("L2", 2)])
def test_hinge_loss_is_that_of_the_loops(norm: str, power: int) -> None:
    scores, label = _random(7, 5), torch.randint(0, 5, (7, 1)).float()
    layer = build(f'type: "HingeLoss" hinge_loss_param {{ norm: {norm} }}', (7, 5), (7, 1))
    wanted = hinge_loss(scores.detach().numpy(), label.numpy(), power)
    assert float(layer(scores, label).detach()) == pytest.approx(wanted, rel=1e-12)
    assert torch.autograd.gradcheck(lambda bottom: layer(bottom, label), scores)


def test_a_hinge_margin_of_zero_has_no_gradient() -> None:
    scores = torch.tensor([[1.0, -1.0, 0.0]], requires_grad=True)
    build('type: "HingeLoss"', (1, 3), (1,))(scores, torch.zeros(1)).backward()
    assert scores.grad is not None
    assert scores.grad.tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("legacy", [False, True])
def test_contrastive_loss_is_that_of_the_loops(legacy: bool) -> None:
    a, b = _random(9, 3), _random(9, 3)
    similar = torch.tensor([1.0, 0.0, 0.0] * 3)
    fields = f"margin: 2.5 legacy_version: {str(legacy).lower()}"
    layer = build(f'type: "ContrastiveLoss" contrastive_loss_param {{ {fields} }}', (9, 3), (9, 3), (9,))
    wanted = contrastive_loss(a.detach().numpy(), b.detach().numpy(), similar.numpy(), 2.5, legacy)
    loss = layer(a, b, similar)
    assert float(loss.detach()) == pytest.approx(wanted, rel=1e-12)
    loss.backward()
    for n in range(9):
        difference = (a[n] - b[n]).detach()
        squared = float((difference**2).sum())
        if similar[n]:
            factor = 1.0
        elif legacy:
            factor = -1.0 if squared < 2.5 else 0.0
        else:
            factor = -max(2.5 - squared**0.5, 0) / (squared**0.5 + 1e-4)  # Caffe keeps d away from 0
        assert a.grad is not None
        assert b.grad is not None
        torch.testing.assert_close(a.grad[n], factor * difference / 9)
        torch.testing.assert_close(b.grad[n], -factor * difference / 9)


def test_contrastive_pairs_that_coincide_have_no_gradient_and_no_nan() -> None:
    a = torch.ones(2, 3, requires_grad=True)
    layer = build('type: "ContrastiveLoss"', (2, 3), (2, 3), (2,))
    layer(a, torch.ones(2, 3), torch.tensor([0.0, 1.0])).backward()
    assert a.grad is not None
    assert not a.grad.any()


@pytest.mark.parametrize("shapes", [((4, 3), (4, 2), (4,)), ((4, 3, 2), (4, 3, 2), (4,)), ((4, 3), (4, 3), (3,))])
def test_contrastive_loss_refuses_what_are_not_pairs(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ShapeError, match="layer 'lay': "):
        build('type: "ContrastiveLoss"', *shapes)


def test_infogain_loss_of_scores_is_that_of_the_loops() -> None:
    scores, matrix = _random(3, 4, 2), torch.rand(4, 4, dtype=torch.float64)
    label = torch.randint(0, 4, (3, 2)).float()
    label[1, 0] = 255
    text = 'type: "InfogainLoss" loss_param { ignore_label: 255 }'
    layer = build(text, (3, 4, 2), (3, 2), (1, 1, 4, 4))
    wanted = infogain_loss(scores.detach().numpy(), label.numpy(), matrix.numpy(), 1, 255)
    assert float(layer(scores, label, matrix).detach()) == pytest.approx(wanted, rel=1e-12)
    assert torch.autograd.gradcheck(lambda bottom: layer(bottom, label, matrix), scores)


def test_infogain_matrix_from_a_file_beside_the_net_and_probabilities_in_the_fork(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).random((3, 3)).astype(np.float32)
    write_blob(tmp_path / "H.binaryproto", matrix.reshape(1, 1, 3, 3))
    text = 'type: "InfogainLoss" infogain_loss_param { source: "H.binaryproto" }'
    probability = torch.rand(2, 3, dtype=torch.float64, requires_grad=True)
    label = torch.tensor([2.0, 0.0])
    layer = build(text, (2, 3), (2,), compat="wen2017", folder=tmp_path)
    logs = probability.detach().log().numpy()
    wanted = -(matrix[2] @ logs[0] + matrix[0] @ logs[1]) / 2
    assert float(layer(probability, label).detach()) == pytest.approx(wanted, rel=1e-6)
    assert torch.autograd.gradcheck(lambda bottom: layer(bottom, label), probability)
    scores = build(text, (2, 3), (2,), compat="bvlc", folder=tmp_path)(probability, label)
    assert float(scores.detach()) != pytest.approx(wanted, rel=1e-3)


def test_infogain_second_top_is_the_softmax() -> None:
    layer = build('type: "InfogainLoss"', (2, 3), (2,), (3, 3), tops=2)
    scores = torch.randn(2, 3)
    _, probability = layer(scores, torch.zeros(2), torch.eye(3))
    torch.testing.assert_close(probability, torch.softmax(scores, 1))


def test_infogain_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedParameterError, match="layer 'lay': the infogain matrix is missing"):
        build('type: "InfogainLoss"', (2, 3), (2,))
    with pytest.raises(ShapeError, match=r"layer 'lay': the infogain matrix has shape \(2, 2\), wanted 3 x 3"):
        build('type: "InfogainLoss"', (2, 3), (2,), (2, 2))
    with pytest.raises(DataError, match=r"layer 'lay': 'none\.binaryproto'"):
        build('type: "InfogainLoss" infogain_loss_param { source: "none.binaryproto" }', (2, 3), (2,), folder=tmp_path)


def test_infogain_loss_refuses_the_deprecated_normalize_as_caffe_does() -> None:
    with pytest.raises(UnsupportedParameterError, match=r"loss_param\.normalize is not for InfogainLoss"):
        build('type: "InfogainLoss" loss_param { normalize: true }', (2, 3), (2,), (3, 3))


def test_l1_loss_is_the_mean_distance_and_flat_at_zero() -> None:
    a = torch.tensor([[1.0, -2.0], [3.0, 0.5]], requires_grad=True)
    loss = build('type: "L1Loss"', (2, 2), (2, 2))(a, torch.tensor([[0.0, 0.0], [3.0, 1.0]]))
    loss.backward()
    assert float(loss.detach()) == 1.75
    assert a.grad is not None
    assert a.grad.tolist() == [[0.5, -0.5], [0, -0.5]]
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': l1_loss_param\.l2_per_location is True"):
        build('type: "L1Loss" l1_loss_param { l2_per_location: true }', (2, 2), (2, 2))


@pytest.mark.parametrize("weights", [0, 1, 2])
def test_smooth_l1_loss_is_that_of_the_loops(weights: int) -> None:
    shape = (3, 4, 2)
    layer = build('type: "SmoothL1Loss" smooth_l1_loss_param { sigma: 2 }', *[shape] * (2 + weights))
    a, b = _random(*shape), _random(*shape)
    given = [torch.rand(shape, dtype=torch.float64) for _ in range(weights)]
    inside = given[0] if weights else torch.ones(shape)
    outside = given[1] if weights == 2 else torch.ones(shape)
    wanted = 0.0
    for x, y, w_in, w_out in zip(*(t.flatten().tolist() for t in (a, b, inside, outside)), strict=True):
        d = abs(w_in * (x - y))
        wanted += w_out * (0.5 * (2 * d) ** 2 if d < 0.25 else d - 0.125)
    assert float(layer(a, b, *given).detach()) == pytest.approx(wanted / 3, rel=1e-12)
    assert torch.autograd.gradcheck(lambda x, y: layer(x, y, *given), (a, b), fast_mode=True)


def test_triplets_count_what_the_margin_lacks() -> None:
    torch.manual_seed(6)
    a, p, n = (torch.randn(5, 3, dtype=torch.float64, requires_grad=True) for _ in range(3))
    loss = build('type: "TripletLoss" triplet_loss_param { margin: 0.5 }', *[(5, 3)] * 3)(a, p, n)
    loss.backward()
    total = 0.0
    for row in range(5):
        far = [sum((x - y) ** 2 for x, y in zip(a[row].tolist(), other[row].tolist(), strict=True)) for other in (p, n)]
        lacks = max(0.0, 0.5 + far[0] - far[1])
        total += lacks / 10
        for blob, pull in ((a, n - p), (p, p - a), (n, a - n)):
            assert blob.grad is not None
            torch.testing.assert_close(blob.grad[row], pull[row].detach() / 5 if lacks else torch.zeros(3).double())
    assert float(loss.detach()) == pytest.approx(total)


def test_triplets_are_vectors_of_one_size() -> None:
    with pytest.raises(ShapeError, match="layer 'lay': bottoms"):
        build('type: "TripletLoss"', (5, 3), (5, 3), (5, 4))
