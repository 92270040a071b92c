"""The figures of training, ranks and filters; None where nothing for one has been measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reproductions.comparison import SLACK, Cell, Group, baseline_error, error, ratio
from reproductions.report.facts import Facts
from reproductions.report.figures import Figure, curves, legend, method_legend, mosaic, series_of
from reproductions.report.plot import Plot
from reproductions.report.svg import Axis, around, swatch_line, swatch_rule

TARGET = 54.17  # Table 2: the average rank ratio of ConvNet after either force, percent
# Not dense nets whose training is over and whose error is of the test images.
DECOMPOSED = ("decompose", "decompose 240k", "sparse", "trunk", "held out", "beside the fork")
FROM_SCRATCH = ("from scratch", "published schedule")
DISCRIMINANTS, SPECTRUM_SHARE = 4, 95


def error_against_ratio(facts: Facts) -> Figure | None:
    """Fig. 6 for ConvNet: what the force costs in error, and what it gains in ranks."""
    groups = [
        group
        for group in facts.finished("convnet")
        if group.first.experiment not in DECOMPOSED
        and group.mean(lambda run: run.average_rank_ratio)
        and group.mean(lambda run: run.error)
    ]
    if len(groups) < 2:
        return None
    published = [
        (line.row.removeprefix("ConvNet "), numbers["average rank ratio"], numbers["top-1 error"])
        for line in facts.tables()["Table 2"]
        if line.row.startswith("ConvNet") and (numbers := {c.published.metric: c.published.value for c in line.cells})
    ]
    xs = [ratio(group) for group in groups] + [x for _, x, _ in published]
    # A collapsed net would press all others together: the axis ends a little above what is of interest.
    limit = min(max([error(group) for group in groups]), 24.0)
    groups = [group for group in groups if error(group) <= limit]
    ys = [error(group) for group in groups] + [y for *_, y in published]
    title = "ConvNet: error against average rank ratio (Fig. 6)"
    caption = (
        "Every mark is a run, or the mean of its seeds; to the left and down is better. Hollow: the paper's Table 2."
    )
    plot = Plot(title, caption, around("average rank ratio, %", xs), around("error, %", ys), height=360)
    plot.rule(x=TARGET)
    lowest = baseline_error("Table 2", groups)
    if lowest is not None:
        plot.rule(y=lowest + SLACK)
    for group in groups:
        plot.dots([(ratio(group), error(group))], series_of(group.first.method), [group_text(group)])
    for name, x, y in published:
        plot.dots([(x, y)], series_of("baseline" if name == "none" else name), [f"paper, {name}"], "hollow")
    methods = [group.first.method for group in groups]
    rows = tuple(group_row(group) for group in sorted(groups, key=ratio))
    head = ("method", "λ", "iterations", "seeds", "rank ratio %", "error %")
    ruled = f"upright: the paper's {TARGET} %; level: {SLACK:g} points above the best baseline"
    keys = (*method_legend(methods), (swatch_rule(), ruled))
    return Figure("fig6", title, caption, (plot.svg(),), keys, head, rows)


def group_text(group: Group) -> str:
    run = group.first
    return (
        f"{run.method} λ {run.force_decay:g}, {run.iterations:,} iterations: {ratio(group):.2f} %, {error(group):.2f} %"
    )


def group_row(group: Group) -> tuple[str, ...]:
    run = group.first
    numbers = f"{ratio(group):.2f}", f"{error(group):.2f}"
    return run.method, f"{run.force_decay:g}", f"{run.iterations:,}", str(len(group.finished)), *numbers


def training_curves(facts: Facts) -> Figure | None:
    """Test error during training with and without force."""
    groups = [group for group in facts.finished("convnet") if group.first.experiment not in DECOMPOSED]
    chosen: dict[tuple[str, str], Group] = {}
    for group in sorted(groups, key=ratio):
        chosen.setdefault((group.first.experiment, group.first.method), group)
    lines = [
        (f"{method}, {strength(group)}", short(group), facts.tests(run))
        for (experiment, method), group in chosen.items()
        for run in group.finished
        if experiment in ("sweep", "branch")
    ]
    caption = "Means over seeds; of each experiment and method the runs with the lowest average rank ratio."
    return curves("training", "ConvNet: test error from the public model on", caption, lines, "error, %")


def falling_ranks(facts: Facts) -> Figure | None:
    """How ranks fall while the force acts on a trained net."""
    title = "ConvNet: average rank ratio while the force acts"
    return ratio_curves(facts, "ratios", title, "From the public model on", "trunk", "sweep")


def falling_ranks_from_scratch(facts: Facts) -> Figure | None:
    """How ranks fall where the force acts from the fillers on."""
    title = "ConvNet: average rank ratio under the force, from scratch"
    return ratio_curves(facts, "scratch-ratios", title, "From the fillers on", *FROM_SCRATCH)


def ratio_curves(facts: Facts, name: str, title: str, start: str, *experiments: str) -> Figure | None:
    """Average rank ratio against iterations, one line for each finished group of runs with force."""
    groups = facts.finished("convnet", *experiments)
    lines = [(line_text(group), short(group), facts.ratios(run)) for group in groups for run in group.finished]
    caption = f"{start}; each line ends with its force and the strength."
    return curves(name, title, caption, lines, "average rank ratio, %")


def from_scratch(facts: Facts) -> Figure | None:
    """Test error of nets that begin with their fillers."""
    lines = [
        (line_text(group), short(group), facts.tests(run))
        for group in facts.finished("convnet", "baseline", *FROM_SCRATCH)
        for run in group.finished
    ]
    return curves("scratch", "ConvNet: test error from scratch", "Means over seeds.", lines, "error, %")


def line_text(group: Group) -> str:
    return f"{group.first.method}, {strength(group)}, {group.first.iterations:,} iterations"


def short(group: Group) -> str:
    """What stands at the end of a line: the kind of force and its strength, as 8e-4."""
    kind = group.first.method.split(",")[0].split(" ")[0]
    decay = f"{group.first.force_decay:.1e}".replace(".0e", "e").replace("e-0", "e-")
    return f"{kind} {decay}" if group.first.force_decay else kind


def strength(group: Group) -> str:
    return f"λ {group.first.force_decay:g}" if group.first.force_decay else "no force"


def fine_tuning(facts: Facts) -> Figure | None:
    """Fig. 7: does a net that was trained with force fine-tune faster, and to less?"""
    lines = [
        (group.first.method, group.first.method.split(",")[0], facts.tests(run))
        for group in facts.finished("convnet", "decompose")
        for run in group.finished
        if group.first.method.endswith("pca")
    ]
    caption = "Decomposed by PCA at the same ranks, then trained without force; means over seeds. "
    caption += "In the paper the net with force ends lower."
    return curves("fig7", "ConvNet: fine-tuning after decomposing (Fig. 7)", caption, lines, "error, %")


def ranks_per_layer(facts: Facts, network: str, title: str) -> Figure | None:
    """Fig. 5: the rank of every convolution, the paper's and ours, without and with force."""
    lines = [line for line in facts.tables()["Figure 5"] if line.row.startswith(network)]
    shown = {
        line.row.removeprefix(f"{network} ").replace("none", "baseline"): [
            cell for cell in line.cells if cell.published.metric == "rank"
        ]
        for line in lines
    }
    layers = [cell.published.layer for cell in shown["baseline"]]
    caption = "Ranks at 5 % error. Hollow: the paper; filled: ours."
    head = ("convolution", *(f"{name}, {who}" for name in shown for who in ("paper", "ours")))
    rows = tuple(
        (layer, *(text for cells in shown.values() for text in (f"{cells[i].published.value:g}", ours_of(cells[i]))))
        for i, layer in enumerate(layers)
    )
    keys = legend(
        (series_of(name), style, f"{name}, {who}")
        for name, cells in shown.items()
        for style, who in (("hollow", "paper"), ("", "ours"))
        if style or any(cell.ours for cell in cells)
    )
    picture = rank_plot(title, caption, layers, shown).svg()
    return Figure(f"fig5-{network.lower()}", title, caption, (picture,), keys, head, rows)


def rank_plot(title: str, caption: str, layers: Sequence[str], shown: Mapping[str, Sequence[Cell]]) -> Plot:
    """One line a layer, the first on top."""
    names = [layer.removeprefix("convolution ").removeprefix("inception_") for layer in reversed(layers)]
    highest = max(cell.published.value for cells in shown.values() for cell in cells)
    axes = Axis("rank", 0, 1.05 * highest), Axis("", -0.7, len(layers) - 0.3, names=names)
    plot = Plot(title, caption, *axes, height=64 + 16 * len(layers), left=122 if max(map(len, names)) > 4 else 44)
    places = range(len(layers) - 1, -1, -1)
    for name, cells in shown.items():
        ours = [(cell.ours.value, float(place)) for place, cell in zip(places, cells, strict=True) if cell.ours]
        plot.dots(ours, series_of(name), [f"ours, {name}: {rank:g}" for rank, _ in ours])
    for name, cells in shown.items():
        paper = [(cell.published.value, float(place)) for place, cell in zip(places, cells, strict=True)]
        plot.dots(paper, series_of(name), [f"paper, {name}: {rank:g}" for rank, _ in paper], "hollow")
    return plot


def ours_of(cell: Cell) -> str:
    return f"{cell.ours.value:g}" if cell.ours else ""


def clusters(facts: Facts) -> Figure | None:
    """Fig. 2: filters of the first layer in the plane that parts their clusters best."""
    pictures, rows = [], []
    for facts_of in facts.filters.values():
        for layer, found in facts_of["layers"].items():
            if "lda" in found:
                points = found["lda"]
                title = f"{facts_of['title']}: {layer}"
                axes = (
                    around("first discriminant", [x for x, *_ in points]),
                    around("second", [y for _, y, _ in points]),
                )
                plot = Plot(
                    f"{title}, filters in LDA space",
                    "Colours are the four clusters of k-means.",
                    *axes,
                    height=300,
                    heading=title,
                )
                for cluster in range(DISCRIMINANTS):
                    plot.dots([(x, y) for x, y, own in points if own == cluster], cluster)
                pictures.append(plot.svg())
                sizes = [sum(own == cluster for *_, own in points) for cluster in range(DISCRIMINANTS)]
                rows.append((title, *map(str, sizes)))
    if not pictures:
        return None
    entries = legend((cluster, "", f"cluster {cluster + 1}") for cluster in range(DISCRIMINANTS))
    head = ("filters", *(f"cluster {place + 1}" for place in range(DISCRIMINANTS)))
    caption = (
        "Unit filters of the first convolution, four clusters of k-means, projected by linear discriminant analysis."
    )
    return Figure("fig2", "Filters in LDA space (Fig. 2)", caption, tuple(pictures), entries, head, tuple(rows))


def spectra(facts: Facts) -> Figure | None:
    """How fast the energy of filters is used up, without and with force."""
    nets = {name: found for name, found in facts.filters.items() if name.startswith("convnet-")}
    layers = list(dict.fromkeys(layer for found in nets.values() for layer in found["layers"]))
    pictures, rows = [], []
    for layer in layers:
        count = max(found["layers"][layer]["filters"] for found in nets.values())
        plot = Plot(f"ConvNet {layer}: energy kept by its first directions",
                    "The line at 95 % is the one that ranks are read at.",
                    Axis(f"directions of {layer}", 1, count), Axis("energy, %", 0, 100), height=260)  # fmt: skip
        plot.rule(y=SPECTRUM_SHARE)
        for name, found in nets.items():
            energy = found["layers"][layer]["energy"]
            series = list(nets).index(name) % 8
            plot.line([(place + 1.0, 100 * share) for place, share in enumerate(energy)], series)
            rows.append((found["title"], layer, str(found["layers"][layer]["rank"]), str(count)))
        pictures.append(plot.svg())
    if not pictures:
        return None
    entries = tuple((swatch_line(place % 8), found["title"]) for place, found in enumerate(nets.values()))
    caption = (
        "The share of energy that the first directions of each layer's filters keep; the rank is where it passes 95 %."
    )
    head = ("net", "layer", "rank at 95 %", "filters")
    return Figure("spectra", "Spectra", caption, tuple(pictures), entries, head, tuple(rows))


def basis_filters(facts: Facts) -> Figure | None:
    """Fig. 1: the basis filters of ConvNet's first layer; the framed ones make up its rank."""
    pictures, rows = [], []
    for found in facts.filters.values():
        for layer, own in found["layers"].items():
            if "basis" in own:
                title = f"{found['title']}: basis filters of {layer}, {own['rank']} of {own['filters']} framed"
                pictures.append(mosaic(title, f"{found['title']}: {own['rank']}", own["basis"], own["rank"]))
                rows.append((found["title"], layer, str(own["rank"]), str(own["filters"])))
    if not pictures:
        return None
    caption = "In the order of their energy, one panel a net; the framed ones keep 95 % of it. " + "; ".join(
        f"{title}: {rank} of {count}" for title, _, rank, count in rows
    )
    head = ("net", "layer", "framed", "of")
    return Figure("fig1", "Basis filters of conv1 (Fig. 1)", caption + ".", tuple(pictures), (), head, tuple(rows))
