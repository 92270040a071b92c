"""The figures of costs: speedups, GoogLeNet at several energies, and the force beside its rivals."""

from __future__ import annotations

from collections.abc import Sequence

from reproductions.comparison import Group, Line, error
from reproductions.report.facts import Facts
from reproductions.report.figures import Figure, legend, series_of
from reproductions.report.svg import Axis, Plot, around
from reproductions.runs import Run

# Bars of one layer: what is shown, its series, its style.
BARS = (("paper, CPU", 0, "hollow"), ("by multiply-adds", 3, ""), ("ours, CPU", 1, ""))


def speedups(facts: Facts) -> Figure | None:
    """Tables 4 and 6: how much faster convolutions are at given ranks."""
    tables = facts.tables()
    lines = [line for source in ("Table 4", "Table 6") for line in tables.get(source, []) if answered(line)]
    if not lines:
        return None
    pictures, rows = [], []
    for line in lines:
        source = line.cells[0].published.source
        cells = [cell for cell in line.cells if cell.published.metric == "CPU speedup"]
        names = [cell.published.layer.replace("all convolutions", "all") for cell in cells]
        bars = [bar_values(line, cell.published.layer) for cell in cells]
        highest = max(value for values in bars for value in values if value)
        title = f"{source}, {line.row}: speedups on a CPU"
        axes = Axis("", -0.6, len(names) - 0.4, names=names), Axis("times", 0, 1.1 * highest)
        plot = Plot(
            title, "Paper, theory and ours, layer by layer.", *axes, height=240, heading=f"{source}, {line.row}"
        )
        for place, values in enumerate(bars):
            for number, (value, (name, series, style)) in enumerate(zip(values, BARS, strict=True)):
                if value is not None:
                    plot.bar(place + 0.26 * (number - 1), 0.24, value, series, f"{name}: {value:.2f} times", style)
            rows.append((f"{source}, {line.row}", names[place], *(f"{value:.2f}" if value else "" for value in values)))
        pictures.append(plot.svg())
    caption = (
        "Dense time over decomposed time of the convolutions alone. What ranks were taken stands below each table."
    )
    head = ("row", "layer", *(name for name, _, _ in BARS))
    entries = legend((series, style, name) for name, series, style in BARS)
    return Figure(
        "speedups", "AlexNet: speedups at published ranks", caption, tuple(pictures), entries, head, tuple(rows)
    )


def answered(line: Line) -> bool:
    return any(cell.ours for cell in line.cells if cell.published.metric == "CPU speedup")


def bar_values(line: Line, layer: str) -> list[float | None]:
    """The paper's speedup of a layer, that by multiply-adds, and ours."""
    cell = next(c for c in line.cells if (c.published.metric, c.published.layer) == ("CPU speedup", layer))
    theory = cell.group.mean(lambda run: run.measures.get(("theoretical speedup", layer))) if cell.group else None
    return [cell.published.value, theory.value if theory else None, cell.ours.value if cell.ours else None]


def energies(facts: Facts) -> Figure | None:
    """The public GoogLeNet decomposed at several energies."""
    runs = [run for group in facts.finished("googlenet", "energies") for run in group.finished if run.multiply_adds]
    if len(runs) < 2:
        return None
    runs.sort(key=lambda run: -(run.multiply_adds or 0))
    names = [f"top-{top} error of photographs" for top in (1, 5)]
    wrong = {name: [run.measures[name, ""] for run in runs] for name in names}
    costs = [(run.multiply_adds or 0) / 1e9 for run in runs]
    title = "GoogLeNet decomposed without fine-tuning"
    caption = f"{runs[0].note}; PCA, layers kept dense where that is cheaper. So few photographs give no error rate."
    axes = (
        around("multiply-adds of an image, 10⁹", [*costs, 1.06 * max(costs)]),
        Axis("wrong, %", 0, max(map(max, wrong.values())) * 1.1),
    )
    plot = Plot(title, caption, *axes)
    for series, name in ((1, names[0]), (2, names[1])):
        points = list(zip(costs, wrong[name], strict=True))
        plot.line(points, series)
        plot.dots(
            points, series, [f"{run.method}: {value:g} % wrong" for run, value in zip(runs, wrong[name], strict=True)]
        )
    last = max(costs)
    for x, y, run in zip(costs, wrong[names[0]], runs, strict=True):
        if last - x > 0.05 * (last - min(costs)) or run is runs[0]:  # the nets that cost most stand close together
            plot.label(run.method.removeprefix("pca at ").removesuffix(" energy"), x, y)
            last = x
    rows = tuple(energy_row(run, names) for run in runs)
    head = ("net", "layers decomposed", "multiply-adds", "parameters", "top-1 wrong %", "top-5 wrong %", "CPU speedup")
    entries = legend([(1, "", "top-1"), (2, "", "top-5")])
    return Figure("energies", title, caption, (plot.svg(),), entries, head, rows)


def energy_row(run: Run, names: Sequence[str]) -> tuple[str, ...]:
    wrong = [f"{run.measures[name, '']:g}" for name in names]
    speed = f"{run.measures['CPU speedup', 'whole net']:.2f}"
    return run.method, str(len(run.ranks)), f"{run.multiply_adds:,}", f"{run.parameters:,}", *wrong, speed


def rivals(facts: Facts) -> Figure | None:
    """The force and other ways to low rank: error against multiply-adds, at equal iterations."""
    groups = [group for group in facts.finished("convnet", "rivals") if group.first.multiply_adds]
    if len(groups) < 2:
        return None
    places = [(mean_cost(group) / 1e6, error(group)) for group in groups]
    title = "ConvNet: the force beside its rivals"
    caption = "Error against multiply-adds of the decomposed net, equal iterations; to the left and down is better."
    axes = around("multiply-adds of an image, 10⁶", [x for x, _ in places]), around("error, %", [y for _, y in places])
    plot = Plot(title, caption, *axes)
    methods = list(dict.fromkeys(group.first.method for group in groups))
    for method in methods:
        own = [(place, group) for place, group in zip(places, groups, strict=True) if group.first.method == method]
        own.sort(key=lambda pair: pair[0])
        points = [place for place, _ in own]
        plot.line(points, series_of(method), "faint")
        plot.dots(points, series_of(method), [f"{method} {g.first.force_decay:g}: {y:.2f} %" for (_, y), g in own])
    rows = tuple(
        (
            g.first.method,
            f"{g.first.force_decay:g}",
            f"{g.first.iterations:,}",
            str(len(g.finished)),
            f"{x:.2f}",
            f"{y:.2f}",
        )
        for (x, y), g in sorted(zip(places, groups, strict=True), key=lambda pair: pair[0])
    )
    head = ("method", "strength", "iterations", "seeds", "multiply-adds, 10⁶", "error %")
    return Figure("rivals", title, caption, (plot.svg(),), legend((series_of(m), "", m) for m in methods), head, rows)


def mean_cost(group: Group) -> float:
    found = group.mean(lambda run: run.multiply_adds)
    return found.value if found else float("inf")
