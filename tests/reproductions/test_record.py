"""Rows of results/*.csv: written once, read back the same, replaced when a run is recorded again; logs kept whole."""

import subprocess
import sys
from dataclasses import replace

import pytest

import caffe_compat as cc
from reproductions.record import LARGE, forget_renamed, forget_runs, keep_log, record_run
from reproductions.runs import COLUMNS, Run, read_log, read_runs
from tests.conftest import ROOT

RUN = Run(
    network="convnet",
    experiment="sweep",
    method="l2",
    force_decay=5e-4,
    seed=1,
    iterations=40000,
    error=18.05,
    multiply_adds=12345678,
    ranks={"conv1": (17, 32), "inception_3a/1x1": (27, 32), "conv3": (55, 64)},
    measures={("CPU speedup", "conv3"): 1.78, ("fine-tuned error", ""): 18.3},
    seconds=812.5,
    command="python -m reproductions.convnet.run --only sweep",
    log="logs/convnet_l2.log",
    paper=("Table 2: ConvNet l2", "Table 1: ConvNet scaler |W|"),
    note='short, "said so", and more',
)


def test_a_run_is_read_as_it_was_recorded(tmp_path):
    recorded = record_run(RUN, folder=tmp_path)
    assert read_runs("convnet", tmp_path) == [recorded]
    assert replace(recorded, average_rank_ratio=None, device="", threads=None, commit="", python="", torch="",
                   caffe_compat="") == RUN  # fmt: skip


def test_facts_of_the_process_are_filled_in(tmp_path):
    recorded = record_run(RUN, folder=tmp_path)
    assert recorded.average_rank_ratio == 74.48  # Table 2: 17/32, 27/32, 55/64
    assert recorded.caffe_compat == cc.__version__ and recorded.threads >= 1
    assert all((recorded.commit, recorded.python, recorded.torch, recorded.device))


def test_an_unfinished_run_was_computed_nowhere(tmp_path):
    unfinished = replace(RUN, status="unfinished", finish="command")
    assert record_run(unfinished, folder=tmp_path) == unfinished


def test_a_run_recorded_again_takes_its_own_place(tmp_path):
    first, second = RUN, replace(RUN, seed=2)
    for run in (first, second, replace(first, error=17.9)):
        record_run(run, folder=tmp_path)
    assert [(run.seed, run.error) for run in read_runs(folder=tmp_path)] == [(1, 17.9), (2, 18.05)]


def test_a_step_that_got_another_strength_leaves_no_row_of_its_old_one(tmp_path):
    unfinished = replace(RUN, force_decay=0.0, status="unfinished", finish="command")
    other = replace(RUN, command=f"{RUN.command}-2", seed=2)
    for run in (unfinished, other):
        record_run(run, folder=tmp_path)
    forget_renamed(RUN, tmp_path)
    record_run(RUN, folder=tmp_path)
    assert [(run.seed, run.status) for run in read_runs(folder=tmp_path)] == [(2, "finished"), (1, "finished")]


@pytest.mark.parametrize(
    "other", [{"experiment": "final"}, {"method": "l1"}, {"force_decay": 1e-3}, {"seed": None}, {"iterations": 1}]
)
def test_a_run_with_another_key_is_another_row(tmp_path, other):
    record_run(RUN, folder=tmp_path)
    record_run(replace(RUN, **other), folder=tmp_path)
    assert len(read_runs("convnet", tmp_path)) == 2


def test_each_network_has_its_file_with_the_same_columns(tmp_path):
    record_run(RUN, folder=tmp_path)
    record_run(replace(RUN, network="lenet"), folder=tmp_path)
    heads = {path.read_text().splitlines()[0] for path in tmp_path.glob("*.csv")}
    assert heads == {",".join(COLUMNS)}
    assert [run.network for run in read_runs(folder=tmp_path)] == ["convnet", "lenet"]


def test_rows_of_one_command_are_forgotten_and_no_others(tmp_path):
    measured = replace(RUN, experiment="speed", command="python -m reproductions.speed --record")
    for run in (RUN, measured):
        record_run(run, folder=tmp_path)
    forget_runs("convnet", "python -m reproductions.convnet.run ", tmp_path)
    forget_runs("lenet", "python", tmp_path)  # there is no such file
    assert [run.experiment for run in read_runs(folder=tmp_path)] == ["speed"]


def test_processes_that_record_at_once_lose_no_row(tmp_path):
    code = """
import sys
from pathlib import Path
from reproductions.record import record_run
from reproductions.runs import Run
for seed in range(8):
    record_run(Run("convnet", "sweep", sys.argv[2], seed=seed), folder=Path(sys.argv[1]))
"""
    started = [subprocess.Popen([sys.executable, "-c", code, tmp_path, name], cwd=ROOT) for name in ("l1", "l2")]
    assert [process.wait() for process in started] == [0, 0]
    assert len(read_runs("convnet", tmp_path)) == 16


def test_an_unfinished_run_names_the_command_that_finishes_it():
    assert replace(RUN, status="unfinished", finish="python -m reproductions.convnet.run").finish
    with pytest.raises(ValueError, match="the command that finishes it"):
        replace(RUN, status="unfinished")
    with pytest.raises(ValueError, match="the command that finishes it"):
        replace(RUN, finish="python -m reproductions.convnet.run")
    with pytest.raises(ValueError, match="'done' is none of finished, unfinished"):
        replace(RUN, status="done")


def test_a_file_of_other_columns_or_values_is_refused_with_its_line(tmp_path):
    path = tmp_path / "convnet.csv"
    path.write_text("network,error\nconvnet,18\n")
    with pytest.raises(ValueError, match=r"convnet.csv: columns are \['network', 'error'\]"):
        record_run(RUN, folder=tmp_path)
    path.unlink()
    record_run(RUN, folder=tmp_path)
    path.write_text(path.read_text().replace("18.05", "low"))
    with pytest.raises(ValueError, match=r"convnet.csv:2: could not convert .*'low'"):
        read_runs("convnet", tmp_path)


@pytest.mark.parametrize(("size", "kept"), [(LARGE, "logs/a.log"), (LARGE + 1, "logs/a.log.gz")])
def test_a_log_is_kept_whole_and_compressed_when_large(tmp_path, size, kept):
    source = tmp_path / "run.log"
    source.write_text("x" * size)
    for _ in range(2):  # a second run's log replaces the first's
        assert keep_log(source, "a.log", tmp_path / "logs") == kept
    assert [path.name for path in (tmp_path / "logs").iterdir()] == [kept.removeprefix("logs/")]
    assert read_log(kept, tmp_path) == "x" * size
