"""What a low-rank pair costs, against counted products and laws."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffe_compat.decompose.break_even import break_even_rank, theoretical_speedup
from caffe_compat.errors import RankError


@given(st.integers(1, 8), st.integers(1, 9), st.integers(1, 5), st.integers(1, 4), st.data())
def test_theoretical_speedup_is_the_ratio_of_counted_products(filters, channels, kernel, group, data):
    rank = data.draw(st.integers(1, filters))
    dense = chain = 0
    for _group in range(group):
        dense += filters * channels * kernel**2
        chain += rank * channels * kernel**2 + filters * rank
    shape = (filters * group, channels, kernel, kernel)
    assert math.isclose(theoretical_speedup(shape, rank * group, group), dense / chain)


def test_at_the_break_even_rank_nothing_is_saved():
    # AlexNet's conv3, conv4 and conv5: the pair is cheaper up to these ranks (counted: 329, 345, 238)
    for shape, group, last in (
        ((384, 256, 3, 3), 1, 329),
        ((384, 192, 3, 3), 2, 345),
        ((256, 192, 3, 3), 2, 238),
    ):
        assert math.floor(break_even_rank(shape, group)) == last
        assert theoretical_speedup(shape, last, group) > 1 > theoretical_speedup(shape, last + 1, group)


def test_a_group_that_does_not_divide_the_filters_is_refused():
    with pytest.raises(RankError, match=r"shape \(6, 2, 3, 3\) cannot have 4 groups"):
        break_even_rank((6, 2, 3, 3), 4)
    assert math.isclose(break_even_rank((6, 12)), 4)
