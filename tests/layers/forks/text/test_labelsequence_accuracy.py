"""LabelsequenceAccuracy by hand."""

import pytest
import torch

from caffe_compat.errors import ShapeError
from tests.layers.single import build

TEXT = 'type: "LabelsequenceAccuracy" labelsequence_accuracy_param { blank_label: 3 }'


def scores(*rows: list[int]) -> torch.Tensor:
    """Scores (N, T, 4) whose best classes are the rows."""
    return torch.nn.functional.one_hot(torch.tensor(rows), 4).float()


@pytest.mark.parametrize(
    ("best", "labels", "right"),
    [
        ([0, 0, 3, 1, 1], [0, 1, 3], True),
        ([0, 3, 0, 3, 3], [0, 0, 3], True),  # a blank between makes them two
        ([0, 0, 0, 3, 3], [0, 0, 3], False),
        ([3, 2, 1, 0, 3], [2, 1, 0], True),
        ([2, 1, 3, 3, 3], [2, 1, 0], False),
        ([3, 3, 3, 3, 3], [3, 3, 3], True),
    ],
)
def test_a_stream_is_right_as_a_whole_or_not(best: list[int], labels: list[int], right: bool) -> None:
    layer = build(TEXT, (1, 5, 4), (1, 3))
    assert layer(scores(best), torch.tensor([labels]).float()).item() == right


def test_it_is_the_share_of_streams_and_the_first_of_equal_classes_is_the_best() -> None:
    layer = build(TEXT, (4, 2, 4), (4, 1))
    given = torch.cat((scores([1, 1], [2, 3], [0, 1]), torch.zeros(1, 2, 4)))
    assert layer(given, torch.tensor([[1.0], [2.0], [0.0], [0.0]])).item() == 0.75


def test_shapes_that_do_not_fit_are_told() -> None:
    with pytest.raises(ShapeError, match=r"wanted scores \(N, T, classes\) and labels \(N, L\)"):
        build(TEXT, (4, 2, 4), (3, 1))
