"""Log lines in the forms that real Caffe printed and every parser reads (tests/golden/formats/logs)."""

import io
import json
import logging
import math
import os
import re
from types import SimpleNamespace

import pytest

from caffe_compat.solver.log import GlogHandler, JsonLinesLog, number, output_lines
from caffe_compat.solver.solver import Solver
from tests.conftest import golden
from tests.proto.test_hdf5_image import quota


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1, "0.1"), (2.3025851, "2.30259"), (1e-5, "1e-05"), (123456.7, "123457"), (1234567.0, "1.23457e+06"),
     (0.0001, "0.0001"), (0.0, "0"), (math.nan, "nan"), (math.inf, "inf"), (1.0, "1")],
)  # fmt: skip
def test_numbers_are_printed_as_a_cpp_stream_does(value, text):
    assert number(value) == text


def test_output_lines_count_values_and_show_the_share_of_losses():
    lines = output_lines("Train", [("acc", 0, [0.5, 1.0]), ("loss", 2, [0.25])])
    assert lines == [
        "    Train net output #0: acc = 0.5",
        "    Train net output #1: acc = 1",
        "    Train net output #2: loss = 0.25 (* 2 = 0.5 loss)",
    ]


def test_records_have_glogs_prefix():
    stream = io.StringIO()
    handler = GlogHandler(stream)
    handler.handle(logging.LogRecord("x", logging.INFO, "/a/solver.py", 245, "Iteration %d", (7,), None))
    handler.handle(logging.LogRecord("x", logging.WARNING, "/a/b.py", 1, "careful", (), None))
    first, second = stream.getvalue().splitlines()
    assert re.fullmatch(r"I\d{4} \d\d:\d\d:\d\d\.\d{6} [ \d]{4}\d+ solver\.py:245\] Iteration 7", first)
    assert re.fullmatch(r"W\d{4} .* b\.py:1\] careful", second)


def caffes_lines(name):
    """The messages of a real log from "Solving" on, without prefix."""
    lines = [
        line.split("] ", 1)[1] for line in golden("formats", "logs", name).read_text().splitlines() if "] " in line
    ]
    return lines[lines.index("Solving LogNet") :]


def without_numbers(line):
    return re.sub(r"(?<== )-?[\d.e+-]+", "N", line)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The net, solver, data and snapshots that the real logs were made with."""
    for path in golden("formats", "logs").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_resumed_run_logs_the_lines_of_caffe(folder, caplog):
    """The snapshots stored beside the logs are those of finetune.log, whose last test they give to the digit."""
    solver = Solver("solver.prototxt", compat="wen2017")
    with caplog.at_level(logging.INFO):
        solver.solve(resume="snap_iter_30.solverstate")
    ours = caplog.messages[caplog.messages.index("Solving LogNet") :]
    restoring = ours.index("SGDSolver: restoring history")
    assert ours[2] == "Resuming from snap_iter_30.solverstate"
    ours = ours[:2] + ours[restoring + 1 :]
    assert [without_numbers(line) for line in ours] == [
        without_numbers(line) for line in caffes_lines("resume.log")[:-1]
    ]
    assert ours[-4:] == caffes_lines("finetune.log")[-5:-1]


def test_training_run_logs_the_lines_of_caffe_in_its_order(folder, caplog):
    with caplog.at_level(logging.INFO):
        Solver("solver.prototxt", compat="wen2017").solve()
    ours = caplog.messages[caplog.messages.index("Solving LogNet") :]
    assert [without_numbers(line) for line in ours] == [
        without_numbers(line) for line in caffes_lines("train.log")[:-1]
    ]


def test_json_lines_tell_steps_tests_and_snapshots(folder):
    solver = Solver("solver.prototxt")
    log = JsonLinesLog("run/log.jsonl")
    solver.callbacks.append(log)
    solver.solve()
    log.close()
    events = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    steps = [event for event in events if event["event"] == "step"]
    assert [step["iteration"] for step in steps] == [0, 5, 10, 15, 20, 25]
    assert steps[-1]["lr"] == pytest.approx(0.025)
    tests = [event for event in events if event["event"] == "test"]
    assert [test["iteration"] for test in tests] == [0, 10, 20, 30]
    assert set(tests[0]["outputs"]) == {"accuracy", "loss"}
    assert [event["path"] for event in events if event["event"] == "snapshot"] == [
        "snap_iter_15.solverstate",
        "snap_iter_30.solverstate",
    ]


def test_json_lines_say_numbers_json_lacks_as_text(tmp_path):
    log = JsonLinesLog(tmp_path / "log.jsonl")
    log.write(loss=math.nan, values=[math.inf, 1.0])
    log.close()
    stored = json.loads((tmp_path / "log.jsonl").read_text())
    assert (stored["loss"], stored["values"]) == ("nan", ["inf", 1.0])


def test_a_start_that_never_trains_leaves_the_history_of_the_run_before(tmp_path):
    log = JsonLinesLog(tmp_path / "log.jsonl")
    log.write(event="step", iteration=3)
    log.close()
    before = (tmp_path / "log.jsonl").read_bytes()
    second = JsonLinesLog(tmp_path / "log.jsonl")
    second.begin(event="start")
    second.write(event="test", iteration=0)
    second.close()
    assert (tmp_path / "log.jsonl").read_bytes() == before
    second.before_step(None)
    second.close()
    events = [json.loads(line)["event"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert events == ["step", "start", "test"]


def test_on_a_full_disk_the_json_log_ends_at_a_whole_line_and_says_so_once(tmp_path, caplog):
    for size in (0, 1, 70, 200, 1000):
        path = tmp_path / f"{size}.jsonl"
        log = JsonLinesLog(path)
        caplog.clear()
        with quota(size):
            for iteration in range(100):
                log.write(event="step", iteration=iteration)
        log.write(event="step", iteration=100)
        text = path.read_text()
        lines = text.splitlines()
        assert [json.loads(line)["iteration"] for line in lines] == list(range(len(lines)))
        assert (text == "" or text.endswith("\n")) and len(text) > size - 70
        assert caplog.text.count("training goes on without this log") == 1


def test_a_log_in_a_folder_that_is_gone_is_one_warning(tmp_path, monkeypatch, caplog):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    log = JsonLinesLog("log.jsonl")
    log.write(event="step", iteration=1)
    log.write(event="step", iteration=2)
    assert caplog.text.count("cannot be written") == 1


def test_a_log_that_is_no_file_is_one_warning_and_nobody_waits(tmp_path, caplog):
    os.mkfifo(tmp_path / "log.jsonl")
    log = JsonLinesLog(tmp_path / "log.jsonl")
    log.write(event="step", iteration=1)
    log.write(event="step", iteration=2)
    assert caplog.text.count("no regular file stands there") == 1


def test_a_test_that_was_interrupted_is_no_event(tmp_path):
    log = JsonLinesLog(tmp_path / "log.jsonl")
    log.after_test(SimpleNamespace(iteration=3), [{}, {"accuracy": 0.5}])
    log.close()
    (event,) = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert (event["net"], event["outputs"]) == (1, {"accuracy": 0.5})
