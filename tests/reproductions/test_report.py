"""The report: made of what is in the folder, the same text each time, whole by itself, readable without eyes."""

import json
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from reproductions.comparison import compare, read_paper
from reproductions.report.__main__ import main
from reproductions.report.figures import Curve, by_text
from reproductions.report.first import sentences
from reproductions.report.plot import Frame, Plot
from reproductions.report.svg import Axis, ticks
from reproductions.runs import HERE, Run, format_runs

VOID = ("meta", "br", "img", "link")
COMMAND = "python -m reproductions.convnet.run --data DATA --only l2"
RANKS = {"event": "ranks", "ranks": {"conv1": 16, "conv3": 32}}
LINES = [{"event": "test", "iteration": 1000 * i, "outputs": {"accuracy": 0.70 + 0.02 * i}} for i in range(5)]


@pytest.fixture
def folder(tmp_path):
    """A folder as reproductions/, with made-up runs of every kind."""
    shutil.copy(HERE / "paper.csv", tmp_path)
    (tmp_path / "logs").mkdir()
    lines = [*LINES, *({**RANKS, "iteration": iteration} for iteration in (0, 1000))]
    (tmp_path / "logs" / "l2.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    facts = {"seconds": 100.0, "device": "a device", "threads": 2, "commit": "abc", "command": COMMAND}
    ranks = {"conv1": (15, 32), "conv2": (22, 32), "conv3": (30, 64)}
    run = Run(
        "convnet",
        "final",
        "l2",
        5e-4,
        1,
        6000,
        error=18.1,
        ranks=ranks,
        average_rank_ratio=54.17,
        multiply_adds=10**7,
        **facts,
    )
    run = replace(run, log="logs/l2.jsonl", paper=("Table 2: ConvNet l2",), note="short & <made up>")
    rows = [
        replace(run, experiment="baseline", method="baseline", force_decay=0.0, paper=("Table 2: ConvNet none",)),
        run,
        replace(run, seed=2, error=18.3),
        replace(run, experiment="sweep", measures={("decomposed error", ""): 25.0}, paper=()),
        replace(
            run, experiment="rivals", method="nuclear norm 0.02", measures={("decomposed error", ""): 26.0}, paper=()
        ),
        replace(run, experiment="decompose", method="none, pca", measures={("error before", ""): 20.0}, paper=()),
        replace(run, experiment="decompose", method="force, pca", paper=()),
        replace(run, experiment="sparse", method="pruned, fine-tuned", measures={("zeros", "conv1"): 60.0}, paper=()),
        replace(
            run,
            method="l1",
            status="unfinished",
            finish=COMMAND,
            error=None,
            ranks={},
            log="",
            paper=("Table 2: ConvNet l1",),
        ),
        Run(
            "alexnet",
            "speed",
            "pca",
            paper=("Table 4: AlexNet none",),
            **facts,
            measures={("CPU speedup", "conv3"): 1.7, ("theoretical speedup", "conv3"): 1.8},
        ),
    ]
    (tmp_path / "results" / "filters").mkdir(parents=True)
    for network in ("alexnet", "convnet"):
        text = format_runs(row for row in rows if row.network == network)
        (tmp_path / "results" / f"{network}.csv").write_text(text)
    points = [[0, 1, 0], [1, 0, 1], [2, 2, 2], [3, 1, 3]]
    layer = {
        "filters": 4,
        "rank": 2,
        "energy": [0.6, 0.96, 0.99, 1.0],
        "lda": points,
        "basis": [["ff0000" * 2] * 2] * 4,
    }
    for name in ("convnet-baseline", "convnet-l2"):
        (tmp_path / "results" / "filters" / f"{name}.json").write_text(
            json.dumps({"title": name, "layers": {"conv1": layer}})
        )
    assert main([], tmp_path) == 0
    return tmp_path


def page(folder):
    return (folder / "index.html").read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Checks that elements are closed in order; collects attributes."""

    def __init__(self):
        super().__init__()
        self.open, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_second_run_changes_nothing_and_check_says_what_is_stale(folder, capsys):
    before = page(folder)
    assert main(["--check"], folder) == 0
    assert main([], folder) == 0 and page(folder) == before
    (folder / "results" / "lenet.csv").write_text(format_runs([Run("lenet", "baseline", "baseline", error=0.9)]))
    assert main(["--check"], folder) == 1
    assert "stale: README.md, index.html;" in capsys.readouterr().err
    assert page(folder) == before


def test_the_page_is_well_formed_and_needs_nothing_from_elsewhere(folder):
    reader = Reader()
    reader.feed(page(folder))
    assert reader.open == []
    links = {value for _, name, value in reader.attributes if name in ("src", "href", "xlink:href")}
    anchors = {value for _, name, value in reader.attributes if name == "id"}
    within = {link.removeprefix("#") for link in links if link.startswith("#")}
    assert links - {f"#{name}" for name in within} == {"logs/l2.jsonl"}
    assert within <= anchors and {"figures", "tables", "runs", "table-2", "fig6", "convnet"} <= within
    assert not re.search(r"@import|url\(|<script|<link", page(folder))


def test_every_picture_has_a_title_and_a_description(folder):
    pictures = re.findall(
        r'<svg width="[^"]*" height="[^"]*" viewBox="[^"]*" role="img">.*?</svg>', page(folder), re.DOTALL
    )
    assert len(pictures) >= 9
    for text in pictures:
        root = ET.fromstring(text)
        assert [child.tag for child in root[:2]] == ["title", "desc"] and all(child.text for child in root[:2])


def test_every_figure_has_its_numbers_as_a_table(folder):
    figures = re.findall(r"<figure.*?</figure>", page(folder), re.DOTALL)
    names = [re.search(r'id="([\w-]+)"', text).group(1) for text in figures]
    curves, others = (
        "fig7 ratios scratch training",
        "fig1 fig2 fig5-googlenet fig5-resnet-20 fig6 rivals sparse spectra",
    )
    wanted = f"{curves} {others} speedups table3"
    assert sorted(names) == sorted(wanted.split())
    assert all("<table>" in text for text in figures)


def test_light_and_dark_and_phones_are_provided_for(folder):
    text = page(folder)
    assert "prefers-color-scheme: dark" in text and 'name="viewport"' in text
    assert text.count("<table>") == text.count('<div class="scroll"')  # a wide table scrolls by itself


def test_both_files_have_ours_beside_the_papers_with_command_and_log(folder):
    for text in (page(folder), (folder / "README.md").read_text(encoding="utf-8")):
        plain = re.sub(r"[*`]|<[^>]+>", "", text)
        assert "54.17† → 54.17 ± 0.00 (0.00)" in plain  # 15/32, 22/32 and 30/64 are the paper's ranks
        assert "17.90† → 18.20 ± 0.14 (+0.30)" in plain
        assert "18.00† → unfinished" in plain
        assert COMMAND in text and "logs/l2.jsonl" in text and "seeds 1, 2" in text


def test_texts_of_runs_cannot_break_the_page(folder):
    assert "short &amp; &lt;made up&gt;" in page(folder) and "<made" not in page(folder)


def test_a_folder_without_runs_gives_the_papers_numbers_alone(tmp_path):
    shutil.copy(HERE / "paper.csv", tmp_path)
    assert main([], tmp_path) == 0
    assert "74.48" in (tmp_path / "README.md").read_text(encoding="utf-8") and "Unfinished" not in page(tmp_path)


def test_what_stands_in_the_project_is_not_stale():
    assert main(["--check"]) == 0


@pytest.mark.parametrize(("low", "high"), [(0, 1), (17.3, 19.1), (0, 240000), (-3.6, 8.1), (54.1, 54.2)])
def test_ticks_are_inside_evenly_spaced_and_few(low, high):
    found = ticks(low, high)
    assert 3 <= len(found) <= 8 and low <= found[0] and found[-1] <= high
    assert {round(b - a, 9) for a, b in pairwise(found)} == {round(found[1] - found[0], 9)}


@pytest.mark.parametrize(("width", "right"), [(320, 308), (520, 508)])
def test_the_corners_of_the_axes_are_the_corners_of_the_plot(width, right):
    frame = Frame(Plot("t", "d", Axis("x", 0, 10), Axis("y", 100, 1000, logarithmic=True), height=200), width)
    (left, bottom), (found, top) = frame.place(0, 100), frame.place(10, 1000)
    assert (left, bottom, found, top) == (50, 158, right, 12)
    assert frame.place(5, 10**2.5) == pytest.approx(((left + right) / 2, (top + bottom) / 2))


def test_labels_keep_off_marks_lines_and_one_another():
    plot = Plot("t", "d", Axis("x", 0, 10), Axis("y", 0, 10))
    plot.line([(0, 5), (10, 5)], 1)
    plot.dots([(5, 5), (5.5, 5), (6, 5)], 2)
    for _ in range(4):
        plot.label("label", 5, 5)
    frame = Frame(plot, 320)
    frame.svg()
    assert len(frame.written) == 4 and all(frame.holds(box) for box in frame.written)
    others = [box for box in frame.taken if box not in frame.written]
    for place, box in enumerate(frame.written):
        for left, top, right, bottom in (*others, *frame.written[:place]):
            assert min(box[2], right) <= max(box[0], left) or min(box[3], bottom) <= max(box[1], top)


def test_names_that_do_not_fit_level_are_turned_and_have_room():
    names = [f"inception_{i}" for i in range(9)]
    frame = Frame(Plot("t", "d", Axis("", -0.5, 8.5, names=names), Axis("y", 0, 1)), 320)
    assert frame.turned and frame.bottom < Frame(Plot("t", "d", Axis("", 0, 1), Axis("y", 0, 1)), 320).bottom - 30
    assert frame.svg().count("rotate(-40)") == 9


def test_a_curve_is_the_mean_of_its_seeds_where_all_have_a_point():
    lines = [("a", "s", [(0, 1.0), (10, 3.0), (20, 9.0)]), ("b", "s", [(0, 5.0)]), ("a", "s", [(0, 3.0), (10, 5.0)])]
    (curve,) = by_text(lines)  # a single point is no curve
    assert isinstance(curve, Curve) and len(curve.runs) == 2
    assert curve.mean() == [(0, 2.0), (10, 4.0)]


def test_the_lines_of_a_figure_differ_in_colour_or_style_and_have_labels(folder):
    for name in ("training", "scratch", "ratios", "fig7"):
        figure = re.search(rf'<figure id="{name}">.*?</figure>', page(folder), re.DOTALL)[0]
        wide = figure.split('<div class="wide">')[1]
        lines = re.findall(r'<polyline class="line ([^"]+)"', wide)
        assert lines and len(set(lines)) == len(lines) == wide.count('class="note own')


def test_shares_are_shown_in_percent(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "42.63" in text and "0.4263" not in text
    assert "top-1 error, %" in text


def test_three_sentences_and_three_numbers_come_first(folder):
    before = page(folder).split("<nav")[0]
    lead = re.search(r'<p class="lead">(.*?)</p>', before)[1]
    said = [part.partition(": ")[0] for part in re.split(r"\. (?=[A-Z])", lead)]
    assert said == ["Confirmed", "Not confirmed", "Unfinished"]
    assert "54.17 % of their full rank" in lead and "0.30 points above" in lead
    assert before.count("<dt>") == 2  # the folder has no run of AlexNet under l2
    assert lead.replace("&#x27;", "'").split(". ")[0] in (folder / "README.md").read_text(encoding="utf-8")


def spoken(runs):
    tables = compare(read_paper(), runs)
    return sentences(tables, runs)


def test_a_number_is_confirmed_or_not_by_its_difference_and_the_open_runs_are_counted():
    free = Run("convnet", "baseline", "baseline", 0.0, 1, 70000, error=18.65, paper=("Table 2: ConvNet none",))
    forced = replace(
        free, experiment="from scratch", method="l2", force_decay=3e-4, error=17.95, average_rank_ratio=54.1
    )
    forced = replace(forced, paper=("Table 2: ConvNet l2",), baseline="baseline: baseline")
    waits = replace(free, experiment="published schedule", iterations=240000, status="unfinished", finish="command")
    waits = replace(waits, error=None, paper=())
    confirmed, unfinished = spoken([free, forced, waits])
    assert confirmed.startswith("Confirmed: under the l2 force") and "0.05 points above the paper" in confirmed
    assert "after 70,000 iterations, " in confirmed and "0.70 below the run without force of as many" in confirmed
    assert unfinished.startswith("Unfinished: 1 of 1 ConvNet runs of 240,000 iterations, so that")
    worse = replace(forced, error=19.0, average_rank_ratio=60.0)
    missed, unfinished = spoken([free, worse, waits, replace(waits, status="finished", finish="", seed=2, error=18.0)])
    assert missed.startswith("Not confirmed: under the l2 force") and "1.10 points above the paper" in missed
    assert "0.35 above the run without force" in missed
    assert "1 of 2 ConvNet runs of 240,000 iterations; " in unfinished
    assert spoken([]) == [] and "240,000" not in spoken([free, forced])[-1]
