"""How far an exported net's outputs may be from the net's, and what is said where they are further."""

import numpy as np
import pytest

from caffe_compat.errors import GraphError
from caffe_compat.export.closeness import check_outputs, in_order_of, relative_difference

WANTED = np.array([[1.0, -4.0]])
OFF = np.array([[1.0, -3.0]])


@pytest.mark.parametrize(
    ("found", "wanted", "difference"),
    [
        ([1.0, -3.0], WANTED, 0.25),  # 1 of the largest, 4, in another shape of as many values
        ([1.0, -4.0, 0.0], WANTED, np.inf),
        ([], np.empty((0, 3)), 0.0),
    ],
)
def test_the_largest_difference_is_a_share_of_the_largest_wanted_value(found, wanted, difference):
    assert relative_difference(np.array(found), wanted) == difference


def test_differences_within_the_tolerance_are_given():
    assert check_outputs("a.onnx", {"prob": OFF}, {"prob": WANTED}, 0.25) == {"prob": 0.25}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (OFF, r"a\.onnx: output 'prob' is off by 0\.25 of its largest value; at most 0\.1 is wanted"),
        (WANTED * np.nan, r"a\.onnx: output 'prob' is off by nan"),
        (WANTED[0], r"a\.onnx: output 'prob' has shape \(2,\); the net gives \(1, 2\)"),
    ],
)
def test_an_output_that_is_off_is_named(found, said):
    with pytest.raises(GraphError, match=said):
        check_outputs("a.onnx", {"prob": found}, {"prob": WANTED}, 0.1)


ROWS = np.array(
    [[[[0, 1, 0.9, 1, 2, 3, 4], [0, 2, 0.5, 5, 6, 7, 8], [0, 3, 0.5, 8, 7, 6, 5], [0, 4, 0.1, 1, 1, 2, 2]]]]
)


@pytest.mark.parametrize(
    ("order", "scores", "equal"),
    [
        ([0, 2, 1, 3], {}, True),  # of one score
        ([0, 2, 1, 3], {1: 0.5 + 5e-6}, True),  # of one within rounding
        ([0, 2, 1, 3], {1: 0.5 + 5e-4}, False),
        ([1, 0, 2, 3], {}, False),
    ],
)
def test_detections_may_change_places_where_their_scores_are_equal(order, scores, equal):
    found = ROWS[:, :, order].copy()
    for place, score in scores.items():
        found[0, 0, place, 2] = score
    assert (relative_difference(in_order_of(found, ROWS, 1e-5), ROWS) <= 1e-5) == equal
    if equal:
        assert check_outputs("a.onnx", {"det": found}, {"det": ROWS}, 1e-5, {"det"})["det"] <= 1e-5
    with pytest.raises(GraphError, match="output 'det' is off"):
        check_outputs("a.onnx", {"det": found}, {"det": ROWS}, 1e-5)
