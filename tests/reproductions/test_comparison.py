"""Which runs answer a row of the paper, and how far ours is from the paper's."""

from dataclasses import replace

import pytest

from reproductions.comparison import Group, compare, error_above_baseline, grouped, read_paper
from reproductions.runs import Run

FULL = {"conv1": (17, 32), "conv2": (27, 32), "conv3": (55, 64)}
BASELINE = Run("convnet", "baseline", "baseline", error=18.0, ranks=FULL, paper=("Table 2: ConvNet none",))
FORCED = Run(
    "convnet",
    "final",
    "l2",
    force_decay=5e-4,
    seed=1,
    error=18.0,
    average_rank_ratio=54.17,
    ranks={"conv1": (15, 32), "conv2": (22, 32), "conv3": (30, 64)},
    paper=("Table 2: ConvNet l2",),
)


def cells(runs, row="ConvNet l2", source="Table 2"):
    line = next(line for line in compare(read_paper(), runs)[source] if line.row == row)
    return {cell.published.name: cell for cell in line.cells}


def test_every_number_of_the_paper_stands_in_one_cell():
    tables = compare(read_paper(), [])
    found = [cell.published for lines in tables.values() for line in lines for cell in line.cells]
    assert sorted(map(repr, found)) == sorted(map(repr, read_paper()))
    assert all(cell.ours is None for lines in tables.values() for line in lines for cell in line.cells)


def test_a_difference_is_ours_less_the_papers():
    found = cells([replace(FORCED, error=18.4)])
    assert found["top-1 error"].published.value == 17.9
    assert found["top-1 error"].difference == pytest.approx(0.5)
    assert found["rank, conv3"].difference == 0 and found["full rank, conv3"].ours.value == 64


def test_seeds_are_averaged_with_their_sample_standard_deviation():
    runs = [replace(FORCED, seed=seed, error=error) for seed, error in ((1, 17.0), (2, 18.0), (3, 19.0))]
    ours = cells(runs)["top-1 error"].ours
    assert (ours.value, ours.spread, ours.count) == (18.0, 1.0, 3)


def test_the_lowest_ratio_within_a_tenth_of_a_point_of_the_baseline_answers():
    low_but_wrong = replace(FORCED, force_decay=2e-3, error=18.11, average_rank_ratio=30.0)
    low_and_right = replace(FORCED, force_decay=1e-3, error=18.1, average_rank_ratio=50.0)
    found = cells([BASELINE, FORCED, low_but_wrong, low_and_right])
    assert found["average rank ratio"].ours.value == 50.0


def test_where_no_error_is_that_low_the_lowest_error_at_the_papers_ratio_answers():
    worse = replace(FORCED, force_decay=2e-3, error=19.0, average_rank_ratio=30.0)
    weaker = replace(FORCED, force_decay=1e-4, error=18.2, average_rank_ratio=60.0)
    found = cells([BASELINE, replace(FORCED, error=18.5), worse, weaker])
    assert found["top-1 error"].ours.value == 18.5


def test_a_run_is_measured_by_the_baseline_that_it_names():
    other = replace(BASELINE, experiment="short", error=18.7)
    near = replace(FORCED, force_decay=2e-3, error=18.8, average_rank_ratio=40.0, baseline="short: baseline")
    runs = [BASELINE, other, FORCED, near, replace(FORCED, force_decay=3e-3, error=18.8, average_rank_ratio=30.0)]
    assert cells(runs)["average rank ratio"].ours.value == 40.0
    assert error_above_baseline(Group((near,)), grouped(runs)) == pytest.approx(0.1)
    assert error_above_baseline(Group((FORCED,)), grouped(runs)) is None  # without a table, none to choose from
    assert error_above_baseline(Group((FORCED,)), grouped(runs), "Table 2") == 0


def test_an_unfinished_run_leaves_the_cell_open_and_a_finished_one_closes_it():
    unfinished = replace(FORCED, status="unfinished", finish="command", error=None, ranks={}, force_decay=1e-3)
    assert all(cell.unfinished and cell.ours is None for cell in cells([unfinished]).values())
    assert not any(cell.unfinished for cell in cells([unfinished, FORCED]).values())


def test_shares_convolutions_by_number_and_other_measures_are_found():
    resnet = Run(
        "resnet20", "a", "l2", error=9.0, ranks={"a": (8, 16), "b": (9, 16)}, paper=("Figure 5: ResNet-20 l2",)
    )
    found = cells([resnet], "ResNet-20 l2", "Figure 5")
    assert found["rank, convolution 2"].ours.value == 9 and found["rank, convolution 3"].ours is None
    alexnet = Run("alexnet", "a", "none", error=42.0, ranks={"conv1": (48, 96)}, paper=("Figure 6: AlexNet none",))
    found = cells([alexnet], "AlexNet none", "Figure 6")
    assert found["top-1 error"].ours.value == 0.42 and found["rank ratio, conv1"].ours.value == 0.5
    speed = Run("alexnet", "b", "x", measures={("CPU speedup", "conv3"): 1.7}, paper=("Table 4: AlexNet none",))
    assert cells([speed], "AlexNet none", "Table 4")["CPU speedup, conv3"].difference == pytest.approx(-0.08)
