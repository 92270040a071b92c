"""WarpCTCLoss by adding up every path, CTCGreedyDecoder by hand."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from tests.layers.single import build

T, C = 4, 3


def _cost(scores: torch.Tensor, labels: list[int], blank: int = 0) -> float:
    """-log of the summed probability of every path of classes that collapses to `labels`; scores (T, C)."""
    probability = torch.softmax(scores, 1).tolist()
    total = 0.0
    for path in itertools.product(range(scores.shape[1]), repeat=len(probability)):
        collapsed = [c for before, c in zip((-1, *path), path, strict=False) if c not in (before, blank)]
        if collapsed == labels:
            total += math.prod(row[c] for row, c in zip(probability, path, strict=True))
    return -math.log(total) if total else math.inf


def test_the_loss_is_the_mean_over_streams_and_its_gradient_that_of_the_sum() -> None:
    scores = torch.randn(T, 2, C, dtype=torch.float64, requires_grad=True)
    layer = build('type: "WarpCTCLoss"', (T, 2, C), (2, 3))
    loss = layer(scores, torch.tensor([[1.0, 2.0, 0.0], [2.0, 0.0, 0.0]]))
    wanted = [_cost(scores[:, 0].detach(), [1, 2]), _cost(scores[:, 1].detach(), [2])]
    assert loss.item() == pytest.approx(sum(wanted) / 2)
    loss.backward()
    alone = build('type: "WarpCTCLoss"', (T, 1, C), (1, 1))
    one = scores.detach()[:, 1:].requires_grad_()
    alone(one, torch.tensor([[2.0]])).backward()
    assert scores.grad is not None
    assert one.grad is not None
    torch.testing.assert_close(scores.grad[:, 1:], one.grad)


def test_indicators_and_lengths_say_what_counts() -> None:
    scores = torch.randn(T, 2, C, dtype=torch.float64)
    wanted = (_cost(scores[:3, 0], [1, 2]) + _cost(scores[:2, 1], [2])) / 2
    labels = torch.tensor([[1.0, 2.0], [2.0, -1.0], [-1.0, -1.0], [-1.0, -1.0]])
    running = torch.tensor([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    by_indicators = build('type: "WarpCTCLoss"', (T, 2, C), (T, 2), (T, 2))
    assert by_indicators(scores, running, labels).item() == pytest.approx(wanted)
    by_lengths = build('type: "WarpCTCLoss"', (T, 2, C), (2,), (2,), (T, 2))
    assert by_lengths(scores, torch.tensor([3, 2]), torch.tensor([2, 1]), labels).item() == pytest.approx(wanted)


def test_streams_too_short_for_their_labels_count_for_nothing() -> None:
    scores = torch.randn(2, 2, C, dtype=torch.float64, requires_grad=True)
    loss = build('type: "WarpCTCLoss"', (2, 2, C), (2, 2))(scores, torch.tensor([[1.0, 1.0], [2.0, 0.0]]))
    assert loss.item() == pytest.approx(_cost(scores.detach()[:, 1], [2]))
    loss.backward()
    assert scores.grad is not None
    assert not scores.grad[:, 0].any() and scores.grad[:, 1].isfinite().all() and scores.grad[:, 1].any()


def test_ctc_loss_is_over_its_first_steps_and_all_streams() -> None:
    scores = torch.randn(T + 1, 3, C, dtype=torch.float64, requires_grad=True)
    text = f'type: "CtcLoss" ctc_loss_param {{ alphabet_size: {C} time_step: {T} blank_label: 2 }}'
    labels = torch.tensor([[0.0, 1.0, 2.0], [2.0, 2.0, 1.0], [1.0, 1.0, 1.0]])  # the last needs 5 steps
    loss = build(text, (T + 1, 3, C), (3, 3))(scores, labels)
    costs = [_cost(scores.detach()[:T, n], wanted, blank=2) for n, wanted in enumerate(([0, 1], [1]))]
    assert loss.item() == pytest.approx(sum(costs) / 3)
    loss.backward()
    assert scores.grad is not None
    assert not scores.grad[T].any() and not scores.grad[:, 2].any()
    step = torch.zeros_like(scores)
    step[1, 0, 0] = 1e-5
    with torch.no_grad():  # the gradient is that of the sum
        higher, lower = (
            _cost((scores + sign * step)[:T, 0], [0, 1], blank=2) for sign in (1, -1)
        )  # fmt: skip
    assert float(scores.grad[1, 0, 0]) == pytest.approx((higher - lower) / 2e-5, rel=1e-5)


def test_ctc_loss_names_what_does_not_fit() -> None:
    text = 'type: "CtcLoss" ctc_loss_param {{ alphabet_size: 3 time_step: {} blank_label: {} }}'
    with pytest.raises(UnsupportedParameterError, match="time_step 4, alphabet_size 3 and blank_label 3; wanted"):
        build(text.format(4, 3), (T, 1, C), (1, 1))
    with pytest.raises(ShapeError, match=r"wanted scores \(T, N, 3\) of 5 steps or more and labels \(N, L\)"):
        build(text.format(5, 0), (T, 1, C), (1, 1))
    with pytest.raises(DataError, match="every label is the blank, 0"):
        build(text.format(4, 0), (T, 1, C), (1, 2))(torch.zeros(T, 1, C), torch.zeros(1, 2))


def test_labels_out_of_range_and_shapes_are_named() -> None:
    with pytest.raises(DataError, match="layer 'lay': labels must be 0 to 2"):
        build('type: "WarpCTCLoss"', (T, 1, C), (1, 1))(torch.zeros(T, 1, C), torch.tensor([[3.0]]))
    with pytest.raises(ShapeError, match=r"layer 'lay': .*labels for 2 streams"):
        build('type: "WarpCTCLoss"', (T, 2, C), (3, 1))
    with pytest.raises(ShapeError, match=r"layer 'lay': .*wanted \(T, N, classes\)"):
        build('type: "CTCGreedyDecoder"', (T, 2))


def _scores(*rows: list[int]) -> torch.Tensor:
    """Scores (T, N, 4) whose best classes are the rows."""
    return torch.nn.functional.one_hot(torch.tensor(rows).T, 4).float()


def test_the_best_classes_lose_blanks_and_repetitions() -> None:
    scores = _scores([1, 1, 0, 1, 3], [0, 0, 2, 2, 0])
    text = 'type: "CTCGreedyDecoder" ctc_decoder_param {{ {} }}'
    top = build(text.format(""), (5, 2, 4))(scores)
    assert top.shape == (2, 5, 1, 1)
    assert top.view(2, 5).tolist() == [[1, 1, 3, -1, -1], [2, -1, -1, -1, -1]]
    top = build(text.format("ctc_merge_repeated: false blank_index: -1"), (5, 2, 4))(scores)
    assert top.view(2, 5).tolist() == [[1, 1, 0, 1, -1], [0, 0, 2, 2, 0]]


def test_accuracy_is_one_less_the_edit_distance_and_the_share_of_whole_streams() -> None:
    layer = build('type: "CTCGreedyDecoder"', (5, 2, 4), (2, 4))
    # 1 1 3 against 1 2 3 3: one change and one insertion in four; the second stream is right
    top = layer(_scores([1, 1, 0, 1, 3], [0, 0, 2, 2, 0]), torch.tensor([[1.0, 2, 3, 3], [2.0, 0, -1, -1]]))
    assert top.flatten().tolist() == pytest.approx([1 - 0.5 / 2, 0.5])
