"""`caffe-compat log`: Caffe's logs, our own and our JSON lines tell the same; nan stays; files as parse_log.py's."""

import csv
import json

import pytest

from caffe_compat.commands import main
from caffe_compat.commands.runs import read_run
from tests.conftest import golden

GLOG = """\
I20261121 00:03:44.000000 13995 solver.cpp:300] Solving Odd
I20261121 00:03:45.500000 13995 solver.cpp:433] Iteration 0, Testing net (#0)
I20261121 00:03:45.500000 13995 solver.cpp:546]     Test net output #0: accuracy = 0.25
I20261121 00:03:45.500000 13995 solver.cpp:433] Iteration 0, Testing net (#1)
I20261121 00:03:45.500000 13995 solver.cpp:546]     Test net output #0: accuracy = 0.5
I20261121 00:03:46.000000 13995 solver.cpp:239] Iteration 0 (0 iter/s, 0s/10 iters), loss = 2.5
I20261121 00:03:46.000000 13995 solver.cpp:258]     Train net output #0: prob = 0.125
I20261121 00:03:46.000000 13995 solver.cpp:258]     Train net output #1: prob = 0.875
I20261121 00:03:46.000000 13995 sgd_solver.cpp:112] Iteration 0, lr = 1e-05

 45%|####      | 45/100
I20261121 00:03:48.000000 13995 solver.cpp:239] Iteration 10 (5 iter/s, 2s/10 iters), loss = nan
I20261121 00:03:48.000000 13995 solver.cpp:258]     Train net output #0: prob = -inf
I20261121 00:03:48.000000 13995 solver.cpp:258]     Train net output #1: prob = 1
I20261121 00:03:48.000000 13995 sgd_solver.cpp:112] Iteration 10, lr = 1e-06
"""


def read_curves(name, nth=None):
    return read_run(str(name), nth).curves


def values(curves, section):
    return {iteration: row for iteration, row in curves.rows(section)}


def test_the_log_of_real_caffe_is_read_to_the_digit():
    path = golden("formats", "logs", "train.log")
    curves = read_curves(str(path))
    lines = [line.split("] ", 1)[1] for line in path.read_text().splitlines() if "] " in line]
    losses = [line.rsplit(" ", 1)[1] for line in lines if line.startswith("Iteration") and ", loss = " in line]
    rates = [line.rsplit(" ", 1)[1] for line in lines if line.startswith("Iteration") and ", lr = " in line]
    accuracies = [line.rsplit(" ", 1)[1] for line in lines if "Test net output #0: accuracy" in line]
    train, test = values(curves, "train"), values(curves, "test")
    assert [f"{row['loss']:g}" for row in train.values()] == losses
    assert [f"{row['lr']:g}" for row in train.values() if "lr" in row] == rates
    assert [f"{row['accuracy']:g}" for row in test.values()] == accuracies
    assert (list(train), list(test)) == ([0, 5, 10, 15, 20, 25, 30], [0, 10, 20, 30])


def test_nan_inf_several_values_and_a_second_test_net_are_kept(tmp_path):
    (tmp_path / "odd.log").write_text(GLOG)
    curves = read_curves(str(tmp_path / "odd.log"))
    assert values(curves, "test") == {0: {"accuracy": 0.25, "accuracy#1": 0.5}}
    assert values(curves, "train output")[0] == {"prob[0]": 0.125, "prob[1]": 0.875}
    assert str(values(curves, "train")[10]["loss"]) == "nan"
    assert values(curves, "train output")[10] == {"prob[0]": float("-inf"), "prob[1]": 1}
    assert values(curves, "train")[10]["lr"] == 1e-6


def test_files_have_the_columns_of_parse_log_and_each_row_its_own_rate(tmp_path, capsys):
    (tmp_path / "odd.log").write_text(GLOG)
    assert main(["log", str(tmp_path / "odd.log"), str(tmp_path)]) == 0
    rows = list(csv.reader((tmp_path / "odd.log.train").read_text().splitlines()))
    assert rows[0] == ["NumIters", "Seconds", "LearningRate", "prob[0]", "prob[1]"]
    assert rows[1:] == [["0", "2.0", "1e-05", "0.125", "0.875"], ["10", "4.0", "1e-06", "-inf", "1.0"]]
    rows = list(csv.reader((tmp_path / "odd.log.test").read_text().splitlines()))
    assert rows == [
        ["NumIters", "Seconds", "LearningRate", "accuracy", "accuracy#1"],
        ["0", "1.5", "1e-05", "0.25", "0.5"],
    ]


@pytest.fixture
def trained(problem, capsys):
    """A run with force; its log in run.log, its JSON lines in small.jsonl."""
    assert main(["solve", "solver.prototxt", "--force", "l1"]) == 0
    problem.write("run.log", capsys.readouterr().err)
    return problem


def test_both_logs_of_a_run_tell_the_same(trained):
    glog, lines = read_curves("run.log"), read_curves("small")
    assert values(lines, "rank") == values(glog, "rank")
    tests = values(glog, "test")
    assert tests.keys() == values(lines, "test").keys() == {0, 10, 20}
    for iteration, row in values(lines, "test").items():
        assert row == pytest.approx(tests[iteration], rel=1e-5)
    train = values(glog, "train")
    for iteration, row in values(lines, "train").items():
        assert row == pytest.approx(train[iteration], rel=1e-5)


def test_json_lines_tell_norms_and_angles_of_the_filters(trained):
    curves = read_curves("small")
    assert curves.columns("weight norm") == ["conv1", "conv2", "ip1"]
    assert curves.columns("rank") == curves.columns("force norm") == curves.columns("angle") == ["conv1", "conv2"]
    assert all(0 < angle < 180 for row in values(curves, "angle").values() for angle in row.values())
    events = [json.loads(line) for line in (trained.folder / "small.jsonl").read_text().splitlines()]
    angles = next(event["angles"] for event in events if event["event"] == "ranks")
    assert set(angles["conv1"]) == {"mean", "std", "min", "max"}


def test_the_table_shows_losses_rates_tests_and_ranks(trained, capsys):
    assert main(["log", "small"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["iteration", "loss", "lr", "test", "accuracy", "test", "loss"]
    assert [line.split()[0] for line in lines[1:6]] == ["0", "5", "10", "15", "20"]
    assert lines[2].split()[3:] == ["-", "-"]
    assert "ranks at 95 % energy" in lines and "weight norms" in lines


def test_one_csv_has_everything(trained, capsys):
    assert main(["log", "small", "--csv", "all.csv"]) == 0
    rows = list(csv.DictReader((trained.folder / "all.csv").read_text().splitlines()))
    assert [row["iteration"] for row in rows] == ["0", "5", "10", "15", "20"]
    assert {"loss", "lr", "test accuracy", "rank conv1", "weight norm ip1", "force norm conv2", "angle conv1"} <= set(
        rows[0]
    )
    assert rows[1]["test accuracy"] == "" and float(rows[1]["lr"]) == pytest.approx(0.05)


def test_a_resumed_run_replaces_what_followed_its_snapshot_and_a_new_run_replaces_all(trained, capsys):
    before = values(read_curves("small"), "train")
    assert main(["solve", "solver.prototxt", "--snapshot", "small_iter_10.solverstate", "--force", "l1"]) == 0
    assert values(read_curves("small"), "train") == before
    assert read_run("small").numbers == (1, 2)
    assert main(["solve", "solver.prototxt", "--max-iter", "6"]) == 0
    assert list(values(read_curves("small"), "train")) == [0, 5]


def test_a_torn_line_is_skipped_and_said(trained, capsys):
    whole = values(read_curves("small"), "train")
    with open("small.jsonl", "a") as file:
        file.write('{"event": "step", "iterat')
    assert values(read_curves("small"), "train") == whole
    assert main(["log", "small"]) == 0
    assert "1 lines are not whole" in capsys.readouterr().err


def test_a_picture_is_drawn(trained, capsys):
    pytest.importorskip("matplotlib")
    assert main(["log", "small", "--plot", "curves.png"]) == 0
    assert (trained.folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def refused(capsys, *words):
    assert main(["log", *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_bad_input_is_one_line(problem, capsys, monkeypatch):
    assert "no such log" in refused(capsys, "absent")
    problem.write("empty.log", "nothing here\n")
    assert "empty.log: no line of it tells of an iteration" in refused(capsys, "empty.log")
    assert "wanted one .jsonl" in refused(capsys, ".")
    problem.write("odd.log", GLOG)
    assert "make it first" in refused(capsys, "odd.log", "nowhere")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert "caffe_compat[plots]" in refused(capsys, "odd.log", "--plot", "x.png")


def test_an_unknown_kind_of_picture_is_refused(problem, capsys):
    pytest.importorskip("matplotlib")
    problem.write("odd.log", GLOG)
    assert ".png" in refused(capsys, "odd.log", "--plot", "x.bitmap")


FORMS = sorted(path.stem for path in golden("logs").glob("*.log"))
TRAIN = {0: {"loss": 2.32, "lr": 0.01}, 100: {"loss": 0.25, "lr": 0.00992565}}
TEST = {0: {"accuracy": 0.1059, "loss": 2.33}, 200: {"accuracy": 0.97, "loss": 0.09}}
NAMES = {  # the outputs as these forms have them
    "pct": ("accuracy", "loss: 50%-fire-rate"),
    "spacename": ("my accuracy", "loss"),
    "score": ("score[0]", "score[1]"),
}


@pytest.mark.parametrize("form", [form for form in FORMS if form not in ("test", "twice", "nan")])
def test_every_form_of_a_log_tells_all_columns(form):
    curves = read_curves(golden("logs", f"{form}.log"))
    names = NAMES.get(form, ("accuracy", "loss"))
    assert values(curves, "train") == TRAIN
    assert values(curves, "test") == {i: dict(zip(names, row.values(), strict=True)) for i, row in TEST.items()}


def test_a_log_of_caffe_test_tells_its_batches_and_means(capsys):
    assert main(["log", str(golden("logs", "test.log"))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:2]] == [["batch", "accuracy", "loss"], ["0", "0.96", "0.446991"]]
    assert lines[-1] == "means: total loss = 0.521581, accuracy = 0.9154"
    real = read_curves(golden("formats", "logs", "test.log"))
    assert values(real, "batch")[1] == {"accuracy": 0.75, "loss": 0.536658}
    assert values(real, "test") == {0: {"total loss": 0.578042, "accuracy": 0.783333, "loss": 0.578042}}


def test_runs_that_do_not_resume_one_another_are_kept_apart(capsys):
    path = golden("logs", "twice.log")
    assert values(read_curves(path, 1), "train") == TRAIN
    assert list(values(read_curves(path), "test")) == [100, 400]
    assert main(["log", str(path)]) == 0
    assert capsys.readouterr().err == f"{path}: 2 runs; this is run 2; --nth N shows another\n"
    assert "--nth 3: there is no such run; it has 2" in refused(capsys, str(path), "--nth", "3")


def test_real_caffe_resumed_goes_on_from_the_run_that_wrote_the_snapshot(tmp_path):
    parts = [golden("formats", "logs", f"{name}.log").read_text() for name in ("train", "finetune", "resume")]
    (tmp_path / "all.log").write_text("".join(parts))
    told = read_run(str(tmp_path / "all.log"))
    assert (told.count, told.numbers) == (3, (2, 3))  # the finetuned one wrote the name last
    assert values(told.curves, "train")[0]["loss"] == 0.311439
    (tmp_path / "two.log").write_text(parts[0] + parts[2])
    told = read_run(str(tmp_path / "two.log"))
    assert told.numbers == (1, 2)
    assert list(values(told.curves, "train")) == [0, 5, 10, 15, 20, 25, 30]
    assert values(told.curves, "train")[30]["loss"] == 0.311439


def test_what_a_resumed_run_left_behind_is_not_told(problem, capsys):
    assert main(["solve", "solver.prototxt"]) == 0
    resume = ["solve", "solver.prototxt", "--snapshot", "small_iter_10.solverstate", "--max-iter", "12"]
    assert main(resume) == 0
    assert list(values(read_curves("small"), "train")) == [0, 5, 10]
    assert main(["solve", "solver.prototxt", "--max-iter", "6"]) == 0
    assert list(values(read_curves("small"), "train")) == [0, 5]
    assert list(values(read_curves("small", 2), "train")) == [0, 5, 10]
    assert list(values(read_curves("small", 1), "train")) == [0, 5, 10, 15]


CHECK = "F0223 14:56:01.5 6406 syncedmem.cpp:56] Check failed: error == cudaSuccess (2 vs. 0)  out of memory"


def test_what_ended_a_run_is_told(tmp_path, capsys):
    text = golden("logs", "base.log").read_text().splitlines()[:12]
    (tmp_path / "ended.log").write_text("\n".join([*text, CHECK, "*** Check failure stack trace: ***", "    @  0x7f"]))
    assert main(["log", str(tmp_path / "ended.log")]) == 0
    printed = capsys.readouterr()
    told = "Check failed: error == cudaSuccess (2 vs. 0)  out of memory"
    assert printed.err == f"{tmp_path}/ended.log: the run ended with: {told}\n"
    assert values(read_curves(tmp_path / "ended.log"), "train") == TRAIN
    (tmp_path / "none.log").write_text(CHECK + "\n")
    assert f"it ends with: {' '.join(told.split())}" in refused(capsys, str(tmp_path / "none.log"))


def test_of_several_processes_the_first_counts(tmp_path):
    lines = golden("logs", "mpi.log").read_text().splitlines()
    both = [line for one in lines for line in (one.replace("[0] ", "[1] ").replace("0.25", "9"), one)]
    (tmp_path / "both.log").write_text("\n".join(both))
    curves = read_curves(tmp_path / "both.log")
    assert (values(curves, "train"), values(curves, "test")) == (TRAIN, TEST)
    lines = golden("logs", "intelmn.log").read_text().splitlines()
    other = [line.replace("[0] ", "[1] ").replace(" 6406 ", " 6500 ") for line in lines]
    (tmp_path / "both.log").write_text("\n".join(line for pair in zip(lines, other, strict=True) for line in pair))
    curves = read_curves(tmp_path / "both.log")
    assert (values(curves, "train"), values(curves, "test")) == (TRAIN, TEST)


@pytest.mark.parametrize(
    "change",
    [
        lambda line: f"[1,0]<stdout>:{line}",
        lambda line: f"0: {line}",
        lambda line: f"2017-02-23T14:55:42.870805Z {line}",
        lambda line: f"\x1b[32m{line}\x1b[0m",
        lambda line: f"\t> {line}",
        lambda line: f" 45%|####5     | 45/100 [00:01<00:02]\r{line}",
        lambda line: line.replace("] Iteration", "] [0.0] Iteration"),
        lambda line: line.split("] ", 1)[1].strip(),
    ],
)
def test_what_stands_before_a_line_is_passed_over(tmp_path, change):
    lines = golden("logs", "base.log").read_text().splitlines()
    (tmp_path / "run.log").write_text("\n".join(map(change, lines)))
    curves = read_curves(tmp_path / "run.log")
    assert (values(curves, "train"), values(curves, "test")) == (TRAIN, TEST)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_text_as_windows_writes_it_is_read(tmp_path, encoding):
    (tmp_path / "run.log").write_bytes(golden("logs", "base.log").read_text().encode(encoding))
    assert values(read_curves(tmp_path / "run.log"), "train") == TRAIN


def test_windows_numbers_and_old_lines_are_read(tmp_path):
    lines = [
        "I0223 14:55:43.1 6406 solver.cpp:9] Iteration 0, Testing net",
        "I0223 14:55:43.1 6406 solver.cpp:9] Test loss: 1.#QNAN",
        "I0223 14:55:43.1 6406 solver.cpp:9] Test score #0: -1.#INF",
        "I0223 14:55:43.1 6406 solver.cpp:9] Iteration 0, loss = -nan(ind)",
        "I0223 14:55:43.1 6406 solver.cpp:9] Iteration 0, lr = 0.01, m = 0.9, wd = 0.0005, gs = 1",
    ]
    (tmp_path / "run.log").write_text("\n".join(lines))
    curves = read_curves(tmp_path / "run.log")
    assert str(values(curves, "test")) == "{0: {'total loss': nan, 'score': -inf}}"
    assert str(values(curves, "train")) == "{0: {'loss': nan, 'lr': 0.01}}"


def test_json_has_every_section_of_the_run_shown(capsys):
    assert main(["log", str(golden("logs", "nan.log")), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["train"]["100"] == {"loss": "nan", "lr": 1e-05} and found["test"]["200"]["accuracy"] == 0.97
    assert (found["runs"], found["of"], found["ended"]) == ([1], 1, "")
