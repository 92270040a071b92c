"""methods/index.html of reproductions/: the methods around the paper beside the force, a plot and a table a net."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from reproductions.comparison import Group, Ours, grouped
from reproductions.methods.rivals import METHODS
from reproductions.report.facts import Facts
from reproductions.report.figures import Figure, legend
from reproductions.report.page import STYLE, Section, anchor, contents, figure_text, folded, table_text
from reproductions.report.plot import Plot
from reproductions.report.sheets import Sheet
from reproductions.report.svg import around
from reproductions.runs import Run, read_runs

TITLE = "Methods that shape or remove filters, from one start"
SERIES = {
    "unpruned": 0, "low rank": 1, "soft pruning": 2, "growing penalty": 3, "one-shot": 4, "importance": 5,
    "sparse groups": 6, "connections": 7,
}  # fmt: skip
FAMILIES = {method.name: method.family for method in METHODS} | {"unpruned": "unpruned"}
NETS = {
    "methods/convnet": "cifar10_full on CIFAR-10",
    "methods/lenet": "LeNet on MNIST",
    "methods/resnet20": "ResNet-20 on CIFAR-10",
}
SEEDS = 3  # that a row needs to be ranked
HALF = 50.0  # percent of the multiply-adds: the ranks are among nets with at most that
CONNECTED = ("connected multiply-adds", "")
HEAD = ("method", "strength", "seeds", "error %", "above unpruned", "error before fine-tuning %", "multiply-adds %",
        "times faster", "left", "rank", "log")  # fmt: skip
WORDS = """
<p>Every net starts from the same public model and trains for as many iterations as all others of its table, with
the method or, where that acts afterwards, without; then filters go or layers are decomposed (PCA at 95 % of the
energy unless it says otherwise), and what is left is fine-tuned alike. These schedules are short: thousands of
iterations would treat the slow methods better. Strength is the share of filters that is to go, or the weight of the
penalty. Error is on the test images, mean and standard deviation over seeds; seeds are orders of the training
images, and draws where filters are drawn. Times are those of a forward pass of 100 images on one thread, the dense
net and the small one in turns; in brackets quartiles over the rounds, which are wide where the machine was busy.
Power of Sparsity keeps the shapes: its multiply-adds are those of kernels that it connects, its time is as
measured. Rows of three seeds and at most half of the multiply-adds are ranked by their error.</p>
"""


def methods_page(facts: Facts) -> str:
    """The whole file, from results/methods/."""
    runs = read_runs(folder=facts.root / "results" / "methods")
    parts = [
        f"<!DOCTYPE html>\n<!-- made by `python -m reproductions.report`, do not edit -->\n"
        f'<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(TITLE)}</title>\n'
        f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n<main>\n<h1>{escape(TITLE)}</h1>\n",
        WORDS,
    ]
    sections = []
    for network, name in NETS.items():
        own = [run for run in runs if run.network == network and run.experiment == "fine-tuned"]
        sections.append(Section(anchor(name), name, network_text(name, own)))
    parts += [contents(sections), *(section.text() for section in sections)]
    return "".join(parts) + "</main>\n</body>\n</html>\n"


def network_text(name: str, runs: Sequence[Run]) -> str:
    groups = [group for group in grouped(runs) if group.finished]
    plain = next((group for group in groups if group.first.method == "unpruned"), None)
    waiting = unfinished(runs)
    rest = folded(waiting, f"unfinished {name}") if waiting.rows else ""
    if plain is None:
        return "<p>No run is finished yet.</p>\n" + rest
    return figure_text(figure(name, groups, plain)) + table_text(sheet(name, groups, plain)) + rest


def figure(name: str, groups: Sequence[Group], plain: Group) -> Figure:
    """Error against multiply-adds and against measured time, beside one another."""
    title = f"{name}: error against cost"
    caption = "Every mark is a method at one strength, the mean of its seeds; bars are their standard deviation. "
    caption += "To the left and down is better."
    pictures = tuple(
        plot(title, caption, label, [(group, share(group, plain)) for group in groups]).svg()
        for label, share in (("multiply-adds, % of the unpruned net's", work), ("time, % of the unpruned net's", spent))
    )
    found = dict.fromkeys(family(group) for group in groups)
    keys = legend((SERIES[each], "", each) for each in SERIES if each in found)
    return Figure(f"plot-{anchor(name)}", title, caption, pictures, keys)


def plot(title: str, caption: str, label: str, points: Sequence[tuple[Group, float]]) -> Plot:
    errors = [error(group) for group, _ in points]
    # A collapsed net would press all others together.
    lowest = min(errors)
    limit = lowest + max(4 * (sorted(errors)[len(errors) // 2] - lowest), 1.0)
    shown = [(group, x) for group, x in points if error(group) <= limit]
    drawn = Plot(
        title,
        caption,
        around(label, [x for _, x in shown], least=0),
        around("error, %", [error(group) + side * spread(group) for group, _ in shown for side in (-1, 1)]),
        height=320,
        heading=f"{len(points) - len(shown)} above {limit:.1f} % not drawn" if len(shown) < len(points) else "",
    )
    for group, x in shown:
        y, width, series = error(group), spread(group), SERIES[family(group)]
        if width:
            drawn.line([(x, y - width), (x, y + width)], series, "faint")
        seeds = len(group.finished)
        drawn.dots([(x, y)], series, [f"{group.first.method}: {y:.2f} %, {x:.1f} %, seeds: {seeds}"])
    return drawn


def sheet(name: str, groups: Sequence[Group], plain: Group) -> Sheet:
    ranked = sorted(
        (group for group in groups if len(group.finished) >= SEEDS and work(group, plain) <= HALF), key=error
    )
    places = {group.first.method: str(place) for place, group in enumerate(ranked, 1)}
    rows = [row(group, plain, places) for group in sorted(groups, key=lambda group: -work(group, plain))]
    return Sheet(name, HEAD, tuple(rows))


def row(group: Group, plain: Group, places: dict[str, str]) -> tuple[str, ...]:
    run = group.first
    method, strength = parts_of(run.method)
    before = group.mean(lambda each: each.measures.get(("error before", "")))
    ranks = [f"{layer} {rank}/{full}" for layer, (rank, full) in run.ranks.items()]
    filters = [f"{layer} {count:g}" for (metric, layer), count in run.measures.items() if metric == "filters"]
    return (
        method,
        strength,
        str(len(group.finished)),
        f"{error(group):.2f}" + (f" ± {spread(group):.2f}" if len(group.finished) > 1 else ""),
        f"{error(group) - error(plain):+.2f}" if group is not plain else "",
        f"{before.value:.2f}" if before and group is not plain else "",
        f"{work(group, plain):.1f}",
        faster(group),
        ", ".join(ranks or filters),
        places.get(run.method, ""),
        f"../{run.log}",
    )


def unfinished(runs: Sequence[Run]) -> Sheet:
    rows = [(run.method, str(run.seed), run.finish) for run in runs if run.status == "unfinished"]
    return Sheet("Unfinished", ("run", "seed", "this finishes it"), tuple(rows))


def parts_of(method: str) -> tuple[str, str]:
    """The name of a method, and its strength."""
    name, _, strength = method.rpartition(" ")
    return (name, strength) if name else (method, "")


def family(group: Group) -> str:
    return FAMILIES[parts_of(group.first.method)[0]]


def error(group: Group) -> float:
    found = group.mean(lambda run: run.error)
    return found.value if found else float("nan")


def spread(group: Group) -> float:
    found = group.mean(lambda run: run.error)
    return found.spread if found else 0.0


def work(group: Group, plain: Group) -> float:
    """Multiply-adds in percent of those of the unpruned net."""
    whole = plain.first.multiply_adds or 1
    found = group.mean(lambda run: run.measures.get(CONNECTED, float(run.multiply_adds or 0)))
    return 100 * found.value / whole if found else 100.0


def mean_of(group: Group, measure: str) -> Ours | None:
    return group.mean(lambda run: run.measures.get((measure, "")))


def speedup(group: Group) -> float:
    found = mean_of(group, "CPU speedup")
    return found.value if found else 1.0


def faster(group: Group) -> str:
    """ "1.85 (1.20 to 2.21)": the ratio of the medians, and quartiles over the rounds."""
    low, high = (mean_of(group, f"speedup, {end} quartile") for end in ("low", "high"))
    quartiles = f" ({low.value:.2f} to {high.value:.2f})" if low and high else ""
    return f"{speedup(group):.2f}{quartiles}"


def spent(group: Group, plain: Group) -> float:
    """Time in percent of the dense net's, which was timed in turns with it."""
    return 100 / speedup(group)
