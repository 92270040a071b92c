"""The figures of costs: speedups, GoogLeNet at several energies, and the force beside its rivals."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from reproductions.comparison import Group, Line, Ours, error
from reproductions.report.facts import Facts
from reproductions.report.figures import Figure, legend, method_legend, series_of
from reproductions.report.plot import Plot
from reproductions.report.svg import Axis, around, swatch_bar
from reproductions.runs import Run

WORST = 45.0  # percent of error above which a net is not drawn to scale
ZEROS = ("zeros", "zero filters", "zero columns")
Bars = tuple[float | None, float | None, float | None]
# Bars of one layer: what is shown, its series, its style.
BARS = (("paper, CPU", 0, "hollow"), ("by multiply-adds", 3, ""), ("ours, CPU", 1, ""))


def speedups(facts: Facts) -> Figure | None:
    """Tables 4 and 6, and VGG16: how much faster convolutions are at given ranks."""
    tables = facts.tables()
    lines = [line for source in ("Table 4", "Table 6") for line in tables.get(source, []) if answered(line)]
    found = {f"{line.cells[0].published.source}, {line.row}": paper_bars(line) for line in lines}
    for group in facts.finished("vgg16", "speed"):
        found[f"VGG16, {group.first.method}"] = our_bars(group)
    if not found:
        return None
    rows = tuple(
        (name, layer, *(f"{value:.2f}" if value else "" for value in values))
        for name, bars in found.items()
        for layer, values in bars.items()
    )
    caption = "Dense time over decomposed time of the convolutions alone. What ranks were taken stands with the runs."
    head = ("row", "layer", *(name for name, _, _ in BARS))
    keys = tuple((swatch_bar(series, style), name) for name, series, style in BARS)
    pictures = tuple(bar_plot(name, bars).svg() for name, bars in found.items())
    return Figure("speedups", "Speedups at published ranks", caption, pictures, keys, head, rows)


def bar_plot(heading: str, bars: Mapping[str, Bars]) -> Plot:
    """The bars of every layer beside one another."""
    names = [layer.replace("all convolutions", "all").removeprefix("conv") for layer in bars]
    highest = max(value for values in bars.values() for value in values if value)
    axes = Axis("convolution", -0.6, len(names) - 0.4, names=names), Axis("times", 0, 1.1 * highest)
    words = "Paper, theory and ours, layer by layer."
    plot = Plot(f"{heading}: speedups on a CPU", words, *axes, height=240, heading=heading)
    for place, values in enumerate(bars.values()):
        for number, (value, (name, series, style)) in enumerate(zip(values, BARS, strict=True)):
            if value is not None:
                plot.bar(place + 0.26 * (number - 1), 0.24, value, series, f"{name}: {value:.2f} times", style)
    return plot


def answered(line: Line) -> bool:
    return any(cell.ours for cell in line.cells if cell.published.metric == "CPU speedup")


def paper_bars(line: Line) -> dict[str, Bars]:
    """{layer: the paper's speedup, that by multiply-adds, and ours}."""
    found: dict[str, Bars] = {}
    for cell in (cell for cell in line.cells if cell.published.metric == "CPU speedup"):
        layer = cell.published.layer
        theory = measure(cell.group, "theoretical speedup", layer) if cell.group else None
        found[layer] = cell.published.value, theory.value if theory else None, cell.ours.value if cell.ours else None
    return found


def our_bars(group: Group) -> dict[str, Bars]:
    """As `paper_bars`, of a run that the paper has no counterpart of."""
    found: dict[str, Bars] = {}
    for metric, layer in group.first.measures:
        if metric == "CPU speedup":
            theory, ours = measure(group, "theoretical speedup", layer), measure(group, metric, layer)
            found[layer] = None, theory.value if theory else None, ours.value if ours else None
    return found


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
            plot.label(run.method.removeprefix("pca at ").removesuffix(" energy"), x, y, 1)
            last = x
    rows = tuple(energy_row(run, names) for run in runs)
    head = (
        "net",
        "layers decomposed",
        "multiply-adds",
        "parameters",
        "top-1 wrong %",
        "top-5 wrong %",
        "speedup ± quartiles",
    )
    entries = legend([(1, "", "top-1"), (2, "", "top-5")])
    return Figure("energies", title, caption, (plot.svg(),), entries, head, rows)


def energy_row(run: Run, names: Sequence[str]) -> tuple[str, ...]:
    wrong = [f"{run.measures[name, '']:g}" for name in names]
    times = [run.measures.get((name, "whole net")) for name in ("CPU speedup", "interquartile range")]
    speed = " ± ".join(f"{value:.2f}" for value in times if value is not None)
    return run.method, str(len(run.ranks)), f"{run.multiply_adds:,}", f"{run.parameters:,}", *wrong, speed


def rivals(facts: Facts) -> Figure | None:
    """The force and other ways to low rank: error against multiply-adds, at equal iterations."""
    others = facts.finished("convnet", "rivals")
    lengths = {group.first.iterations for group in others}
    forced = [group for group in facts.finished("convnet", "sweep") if group.first.iterations in lengths]
    groups = [group for group in (*forced, *others) if mean_cost(group) and decomposed_error(group) is not None]
    if len(groups) < 2:
        return None
    # A net that collapsed when it was decomposed would press all others together.
    places = [(mean_cost(group) / 1e6, min(decomposed_error(group) or 0.0, WORST)) for group in groups]
    title = "ConvNet: the force beside its rivals"
    caption = (
        "Error after decomposing at 95 % energy, without fine-tuning, against the multiply-adds that are left; equal "
    )
    caption += f"iterations; to the left and down is better. Errors above {WORST:g} % are drawn there."
    axes = around("multiply-adds of an image, 10⁶", [x for x, _ in places]), around("error, %", [y for _, y in places])
    plot = Plot(title, caption, *axes)
    for place, group in zip(places, groups, strict=True):
        name = f"{group.first.method} {group.first.force_decay:g}".removesuffix(" 0")
        plot.dots([place], series_of(group.first.method), [f"{name}: {place[1]:.2f} %"])
    rows = tuple(rival_row(group) for group in sorted(groups, key=mean_cost))
    head = ("method", "λ", "iterations", "seeds", "multiply-adds, 10⁶", "error %", "decomposed %")
    entries = method_legend(method_name(group.first.method) for group in groups)
    return Figure("rivals", title, caption, (plot.svg(),), entries, head, rows)


def method_name(method: str) -> str:
    """A method without its strength, so that all strengths share a line of the legend."""
    return re.sub(r",? [\d.]+( %.*)?$", "", method)


def rival_row(group: Group) -> tuple[str, ...]:
    run = group.first
    numbers = f"{mean_cost(group) / 1e6:.2f}", f"{error(group):.2f}", f"{decomposed_error(group):.2f}"
    return run.method, f"{run.force_decay:g}", f"{run.iterations:,}", str(len(group.finished)), *numbers


def decomposed_error(group: Group) -> float | None:
    """Error of the decomposed net before any fine-tuning, percent."""
    found = measure(group, "decomposed error")
    return found.value if found else None


def measure(group: Group, metric: str, layer: str = "") -> Ours | None:
    return group.mean(lambda run: run.measures.get((metric, layer)))


def mean_cost(group: Group) -> float:
    found = group.mean(lambda run: run.multiply_adds)
    return found.value if found else 0.0


def decompositions(facts: Facts) -> Figure | None:
    """Table 3's question on ConvNet: PCA, SVD and k-means at equal ranks, with and without force before."""
    groups = facts.finished("convnet", "decompose")
    found = {group.first.method: group for group in groups if ", " in group.first.method and error(group) < WORST}
    methods = list(dict.fromkeys(name.split(", ")[1] for name in found))
    starts = list(dict.fromkeys(name.split(", ")[0] for name in found))
    if len(found) < 2:
        return None
    title = "ConvNet: decompositions at equal ranks (Table 3's question)"
    caption = "Error after fine-tuning; hollow: before it, where that is on the scale. One mark a seed."
    after = [run.error for group in found.values() for run in group.finished if run.error is not None]
    axes = Axis("", -0.5, len(methods) - 0.5, names=methods), around("error, %", [*after, max(after) + 1])
    plot = Plot(title, caption, *axes)
    for name, group in found.items():
        start, method = name.split(", ")
        place = methods.index(method) + 0.24 * (starts.index(start) - (len(starts) - 1) / 2)
        plot.dots([(place, run.error) for run in group.finished if run.error is not None], series_of(start))
        before = [run.measures.get(("error before", "")) for run in group.finished]
        plot.dots([(place, y) for y in before if y is not None and y <= axes[1].high], series_of(start), style="hollow")
    rows = tuple(tuned_row(group) for group in found.values())
    head = ("start, method", "seeds", "before fine-tuning %", "error %", "±")
    return Figure("table3", title, caption, (plot.svg(),), legend((series_of(s), "", s) for s in starts), head, rows)


def tuned_row(group: Group) -> tuple[str, ...]:
    before = measure(group, "error before")
    after = group.mean(lambda run: run.error)
    numbers = [f"{each.value:.2f}" if each else "" for each in (before, after)]
    return group.first.method, str(len(group.finished)), *numbers, f"{after.spread:.2f}" if after else ""


def sparsity(facts: Facts) -> Figure | None:
    """Section 5.4 on ConvNet: zeros of the decomposed net after group lasso or connection pruning."""
    groups = [group for group in facts.finished("convnet", "sparse") if "fine-tuned" in group.first.method]
    pictures, rows = [], []
    for group in groups:
        layers = list(dict.fromkeys(layer for (metric, layer) in group.first.measures if metric == "zeros"))
        if not layers:
            continue
        axes = (
            Axis("", -0.6, len(layers) - 0.4, names=[layer.removeprefix("conv").replace("_", " ") for layer in layers]),
            Axis("%", 0, 100),
        )
        heading = f"{group.first.method}: {error(group):.2f} % error"
        plot = Plot(
            f"ConvNet, {group.first.method}", "Zeros of each layer, percent.", *axes, height=240, heading=heading
        )
        for place, layer in enumerate(layers):
            shares = [measure(group, metric, layer) for metric in ZEROS]
            for number, share in enumerate(shares):
                plot.bar(place + 0.26 * (number - 1), 0.24, share.value if share else 0.0, number + 1)
            rows.append((group.first.method, layer, *(f"{share.value:.1f}" if share else "" for share in shares)))
        pictures.append(plot.svg())
    if not pictures:
        return None
    title = "ConvNet: low rank and sparse (section 5.4)"
    caption = "Percent of zeros in the decomposed net with force: of the weights, of whole filters, of whole columns."
    keys = tuple((swatch_bar(number + 1), name) for number, name in enumerate(ZEROS))
    return Figure("sparse", title, caption, tuple(pictures), keys, ("net", "layer", *ZEROS), tuple(rows))
