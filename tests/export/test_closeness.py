"""How far an exported net's outputs may be from the net's, and what is said where they are further."""

import numpy as np
import pytest

from caffe_compat.errors import GraphError
from caffe_compat.export.closeness import check_outputs, relative_difference

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
