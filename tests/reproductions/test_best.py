"""No number that was landed gets worse unseen."""

from dataclasses import replace

from reproductions.best import FILE, Best, best_text, current, read_best, updated, worsened
from reproductions.comparison import compare, read_paper
from reproductions.runs import Run, read_runs

ERROR = Best("Table 2", "ConvNet l2", "top-1 error", "", 18.0, 0.2)
SPEED = Best("Table 4", "AlexNet l2", "CPU speedup", "conv3", 2.4, 0.36)


def test_no_landed_number_got_worse():
    assert worsened(read_best(), current(compare(read_paper(), read_runs()))) == []


def test_worse_is_higher_for_errors_and_lower_for_speedups_beyond_the_tolerance():
    assert worsened([ERROR, SPEED], [replace(ERROR, value=18.2), replace(SPEED, value=2.05)]) == []
    assert worsened([ERROR, SPEED], [replace(ERROR, value=10.0), replace(SPEED, value=9.0)]) == []
    (line,) = worsened([ERROR], [replace(ERROR, value=18.25)])
    assert line == "Table 2, ConvNet l2, top-1 error: was 18 +- 0.2, is 18.25"
    assert worsened([SPEED], [replace(SPEED, value=2.0)])


def test_a_number_that_is_gone_is_worse():
    assert worsened([ERROR], []) == ["Table 2, ConvNet l2, top-1 error: was 18, and no run answers it any more"]


def test_only_better_and_new_numbers_replace_what_was_landed():
    worse, better = replace(ERROR, value=18.1), replace(SPEED, value=2.5)
    assert updated([ERROR], [worse, SPEED]) == [ERROR, SPEED]
    assert updated([ERROR, SPEED], [worse, better]) == [ERROR, better]


def test_a_row_may_trade_one_number_for_another():
    ratio = Best("Table 2", "ConvNet l2", "average rank ratio", "", 70.0, 0.2)
    traded = [replace(ERROR, value=18.5), replace(ratio, value=54.0)]
    assert worsened([ERROR, ratio], traded) == [] and updated([ERROR, ratio], traded) == traded
    only_worse = [replace(ERROR, value=18.5), ratio]
    assert len(worsened([ERROR, ratio], only_worse)) == 1 and updated([ERROR, ratio], only_worse) == [ERROR, ratio]


def test_the_tolerance_is_twice_the_spread_of_seeds_and_at_least_a_fifth_of_a_point():
    runs = [
        Run("convnet", "final", "l2", seed=seed, error=error, paper=("Table 2: ConvNet l2",))
        for seed, error in ((1, 17.0), (2, 18.0), (3, 19.0))
    ]
    assert current(compare(read_paper(), runs)) == [replace(ERROR, tolerance=2.0)]
    assert current(compare(read_paper(), runs[1:2])) == [ERROR]


def test_the_file_holds_what_was_written(tmp_path):
    (tmp_path / FILE).parent.mkdir(parents=True)
    (tmp_path / FILE).write_text(best_text([ERROR, SPEED]))
    assert read_best(tmp_path) == [ERROR, SPEED]
