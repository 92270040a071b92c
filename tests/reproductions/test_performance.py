"""The figures of docs/performance.md: every benchmark has its row, every bound is the one that its test asserts."""

import ast

import pytest

from reproductions import performance

MACHINE, FIGURES = performance.read_figures()
TREES = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in performance.BENCHMARKS.glob("test_*.py")}
HEAD = "# machine: here\nbenchmark\ttest\twhat\tfigure\tunit\twanted\tcause\n"


def numbers(tree):
    return {
        float(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and type(node.value) in (int, float)
    }


def found_in(tree):
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_row_names_a_test_that_is_there():
    assert [row for row in FIGURES if row.test not in found_in(TREES[row.benchmark])] == []


def test_every_file_of_benchmarks_is_on_the_page_measured_or_not():
    shown = performance.benchmarks()
    assert all(f"-s tests/benchmarks/{name}.py`" in shown for name in TREES)


@pytest.mark.parametrize("row", FIGURES, ids=lambda row: row.what)
def test_what_was_wanted_is_what_the_test_asserts(row):
    known = numbers(TREES[row.benchmark])
    bound = row.wanted[1]
    # 0.95 is written 1 / SLACK of 1.05 there, 1.35 as 1 + 0.35, 2.45 comes from paper.csv
    derived = {round(1 / number, 2) for number in known if number} | {1 + number for number in known}
    assert bound in known | derived or row.test.startswith("test_alexnet_is_faster_at_the_papers_ranks")


def test_what_is_missed_has_a_cause_and_nothing_else_has():
    assert [row.what for row in FIGURES if (row.verdict == "missed") != bool(row.cause)] == []


def test_no_two_rows_are_of_one_thing():
    assert len({(row.test, row.what) for row in FIGURES}) == len(FIGURES)


@pytest.mark.parametrize(
    ("figure", "wanted", "cells"),
    [
        ("1.050", "<= 1.05", ("1.050 times", "at most 1.05 times", "met")),
        ("1.05", "< 1.05", ("1.05 times", "below 1.05 times", "**missed**; cause: old")),
        ("0.9", ">= 2", ("0.9 times", "at least 2 times", "**missed**; cause: old")),
        ("3", "> 2", ("3 times", "above 2 times", "met")),
        ("-", "> 2", ("-", "above 2 times", "not measured")),
    ],
)
def test_whether_a_figure_is_met_is_computed(tmp_path, figure, wanted, cells):
    path = tmp_path / "figures.tsv"
    path.write_text(f"{HEAD}a\tb\tspeed\t{figure}\ttimes\t{wanted}\told\n")
    machine, (row,) = performance.read_figures(path)
    assert machine == "here" and row.cells() == ("speed", *cells)


@pytest.mark.parametrize(
    "line", ["a\tb\tc\t1\ttimes\t5\t", "a\tb\tc\tfast\ttimes\t< 5\t", "a\tb\tc\t1\tmiles\t< 5\t", "a\tb"]
)
def test_a_row_that_is_none_is_refused(tmp_path, line):
    path = tmp_path / "figures.tsv"
    path.write_text(HEAD + line + "\n")
    with pytest.raises(ValueError, match=r"figures\.tsv: .*no figure"):
        performance.read_figures(path)
