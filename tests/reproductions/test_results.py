"""Landed rows: each has its command, commit, device, versions and log, and answers rows that the paper has."""

import pytest

from reproductions.comparison import read_paper
from reproductions.record import LARGE, LOGS
from reproductions.runs import HERE, RESULTS, read_runs

RUNS = [*read_runs(), *read_runs(folder=RESULTS / "methods")]
TRAINED = [run for run in RUNS if run.status == "finished" and run.iterations]


def name(run):
    return "-".join(map(str, (run.network, *run.key)))


def test_rows_are_known_by_different_keys():
    assert len({(run.network, run.key) for run in RUNS}) == len(RUNS)


@pytest.mark.parametrize("run", [run for run in RUNS if run.status == "finished"], ids=name)
def test_a_finished_row_says_how_it_was_made(run):
    assert all((run.command, run.commit, run.device, run.threads, run.python, run.torch, run.caffe_compat))
    assert run.command.startswith("python -m reproductions.")


@pytest.mark.parametrize("run", TRAINED, ids=name)
def test_a_trained_row_has_its_error_ranks_costs_and_whole_log(run):
    assert 0 < run.error < 100 and run.seconds > 0 and run.multiply_adds > 0
    assert (HERE / run.log).is_file()


@pytest.mark.parametrize("run", [run for run in RUNS if run.ranks], ids=name)
def test_ranks_are_between_one_and_all_filters_and_make_the_average(run):
    shares = [rank / full for rank, full in run.ranks.values()]
    assert all(0 < share <= 1 for share in shares)
    assert run.average_rank_ratio == pytest.approx(100 * sum(shares) / len(shares), abs=0.006)


def test_rows_answer_rows_that_the_paper_has():
    known = {f"{each.source}: {each.row}" for each in read_paper()}
    assert {row for run in RUNS for row in run.paper} <= known


def test_every_log_belongs_to_a_row_and_is_compressed_when_large():
    logs = {path.relative_to(HERE).as_posix() for path in LOGS.iterdir() if path.is_file()}
    named = {run.log for run in RUNS if run.log}
    assert named <= logs
    stems = {path.removesuffix(".gz").rpartition(".")[0] for path in named}
    assert {path.removesuffix(".gz").rpartition(".")[0] for path in logs} <= stems
    assert all((HERE / path).stat().st_size <= LARGE for path in logs if not path.endswith(".gz"))
