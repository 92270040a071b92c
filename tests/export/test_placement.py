"""The layout keeps its laws: downwards, without overlap, in few crossings, and the same every time."""

import random
from itertools import pairwise

import pytest

from caffe_compat.export.placement import lay_out


def graph(seed, count=40):
    """A random graph as nets are: every box reads one or two of the few before it."""
    draw = random.Random(seed)
    edges = [(draw.randint(max(0, i - 6), i - 1), i) for i in range(1, count) for _ in range(draw.randint(1, 2))]
    return [draw.uniform(60, 200) for _ in range(count)], edges


@pytest.mark.parametrize("seed", range(5))
def test_edges_lead_down_and_pass_every_level_between(seed):
    layout = lay_out(*graph(seed))
    for (source, target), route in layout.routes.items():
        levels = [layout.levels[source], *(level for level, _ in route), layout.levels[target]]
        assert levels == list(range(levels[0], levels[-1] + 1)) and len(levels) > 1


@pytest.mark.parametrize("seed", range(5))
def test_boxes_of_a_level_stand_apart_and_inside_the_width(seed):
    widths, edges = graph(seed)
    layout = lay_out(widths, edges)
    spans = sorted(
        (level, x - w / 2, x + w / 2) for level, x, w in zip(layout.levels, layout.centres, widths, strict=True)
    )
    for (level, _, right), (other, left, _) in pairwise(spans):
        assert level != other or right < left
    assert min(left for _, left, _ in spans) >= -1e-6
    assert max(right for *_, right in spans) <= layout.width + 1e-6


def test_edges_do_not_pass_through_boxes():
    widths, edges = graph(7)
    layout = lay_out(widths, edges)
    for route in layout.routes.values():
        for level, x in route:
            for box, own in enumerate(layout.levels):
                assert own != level or abs(layout.centres[box] - x) > widths[box] / 2


def test_a_chain_is_straight():
    layout = lay_out([50, 90, 70, 110], [(0, 1), (1, 2), (2, 3)])
    assert layout.levels == (0, 1, 2, 3) and len({round(x, 6) for x in layout.centres}) == 1


def test_two_branches_do_not_cross():
    layout = lay_out([50] * 6, [(0, 2), (0, 1), (1, 4), (2, 3), (3, 5), (4, 5)])
    assert (layout.centres[1] < layout.centres[2]) == (layout.centres[4] < layout.centres[3])


def test_a_source_stands_right_above_its_reader():
    assert lay_out([50] * 4, [(0, 1), (1, 3), (2, 3)]).levels == (0, 1, 1, 2)


def test_long_repeating_nets_do_not_wander_off():
    edges, last = [], 0
    for block in range(1, 40):  # a wide branch, and a short way past it
        wide, join = 2 * block - 1, 2 * block
        edges += [(last, wide), (wide, join), (last, join)]
        last = join
    assert lay_out([100] * 79, edges).width < 260


def test_no_boxes_and_one_box_have_places():
    assert lay_out([], []).width == 0
    assert lay_out([30], []).centres == (15,)


def test_the_layout_is_the_same_every_time():
    assert lay_out(*graph(3)) == lay_out(*graph(3))
