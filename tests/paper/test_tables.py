"""Numbers of the paper's tables that follow from its ranks alone."""

import pytest

from caffe_compat.decompose.break_even import break_even_rank, theoretical_speedup
from tests.paper.published import published

SHAPES = {"conv3": (384, 256, 3, 3), "conv4": (384, 192, 3, 3), "conv5": (256, 192, 3, 3)}
GROUPS = {"conv3": 1, "conv4": 2, "conv5": 2}


@pytest.mark.parametrize("row", [f"{net} {force}" for net in ("ConvNet", "AlexNet") for force in ("none", "l2", "l1")])
def test_average_rank_ratios_of_table_2_are_the_means_over_layers(row):
    ranks, filters = published("Table 2", row, "rank"), published("Table 2", row, "full rank")
    ratio = 100 * sum(rank / filters[layer] for layer, rank in ranks.items()) / len(ranks)
    assert ratio == pytest.approx(published("Table 2", row, "average rank ratio")[""], abs=0.005 + 1e-9)


@pytest.mark.parametrize("row", ["AlexNet none", "AlexNet l2"])
def test_theoretical_speedups_of_table_4_follow_from_its_ranks(row):
    for layer, rank in published("Table 4", row, "rank").items():
        speedup = theoretical_speedup(SHAPES[layer], int(rank), GROUPS[layer])
        assert f"{speedup:.2f}" == f"{published('Table 4', row, 'theoretical speedup')[layer]:.2f}", layer


def test_conv3_of_table_4_was_decomposed_as_one_group():
    # in two halves of 192 filters the rank 184 would give 1.93, not the printed 1.79
    halves = theoretical_speedup((384, 256, 3, 3), 184, 1), theoretical_speedup((192, 256, 3, 3), 92, 1)
    assert [f"{speedup:.2f}" for speedup in halves] == ["1.79", "1.93"]


def test_table_4_lies_below_the_break_even_ranks():
    for row in ("AlexNet none", "AlexNet l2"):
        for layer, rank in published("Table 4", row, "rank").items():
            assert rank < break_even_rank(SHAPES[layer], GROUPS[layer])


@pytest.mark.parametrize("row, printed", [("AlexNet l2 point 4", 28.59), ("AlexNet l1 point 4", 28.72)])
def test_points_read_off_figure_6_have_the_printed_averages(row, printed):
    assert published("Figure 6", row, "average rank ratio")[""] == printed
    ratios = published("Figure 6", row, "rank ratio").values()
    assert 100 * sum(ratios) / 5 == pytest.approx(printed, abs=0.5)  # each ratio is read to 0.005
