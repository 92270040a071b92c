"""README.md of this folder, made from results.tsv: `python -m tests.export.real_nets.table`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.export.real_nets.outcomes import Outcome, read

FOLDER = Path(__file__).parent
FORMATS = {"onnx": "ONNX, run by onnxruntime", "pt2": "torch.export, run by torch"}
FIRST = """<!-- made by `python -m tests.export.real_nets.table`, do not edit -->

# Real nets, exported

The deploy and train_val nets of public repositories whose TEST net builds (their paths stand in nets.tsv, with the
shapes of data that is not here, and smaller ones of large images where any size goes through), each with drawn weights
and one image where the net allows it (four where it normalises by the statistics of its batch). A net for training
goes by way of `deploy`. A file is run beside the net, and every output is within 1e-5 of its largest value, or the net
counts as refused. A net that is cut ends (`--output`) before layers whose number of rows the values decide. Nets are
taken in an order drawn from a seed, so that those measured are a random sample, but for a few by choice: BVLC's own,
YOLO's, and all that have a Dropout that draws in TEST, which no format holds. The commands, one form after the other:

    python -m tests.export.real_nets --form onnx --shuffle 17 --anew --out tests/export/real_nets/results.tsv
    python -m tests.export.real_nets --form pt2 --shuffle 17 --anew --out tests/export/real_nets/results.tsv
    python -m tests.export.real_nets.table
"""


def page(outcomes: dict[tuple[str, str], Outcome]) -> str:
    """The text of the page."""
    parts = [FIRST, counts(outcomes), by_tree(outcomes)]
    for form, title in FORMATS.items():
        refused = [(net, each) for (net, own), each in outcomes.items() if own == form and each.state == "refused"]
        if refused:
            parts.append(f"\n## {title}: refused\n\n| net | why |\n| --- | --- |\n")
            parts += [f"| {net} | {shortened(each.told)} |\n" for net, each in refused]
        before = Counter(each.before for (_, own), each in outcomes.items() if own == form and each.state == "cut")
        if before:
            parts.append(f"\n## {title}: cut\n\n| before | nets |\n| --- | --- |\n")
            parts += [f"| {types} | {count} |\n" for types, count in sorted(before.items())]
    return "".join(parts)


def counts(outcomes: dict[tuple[str, str], Outcome]) -> str:
    """A row a form: how many nets, how many of them were measured, and what became of these."""
    lines = ["\n| form | nets | measured | exported | of these by way of `deploy` | cut | refused | exported or cut |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- | --- |")
    listed = len((FOLDER / "nets.tsv").read_text(encoding="utf-8").splitlines())
    for form, title in FORMATS.items():
        own = [each for (_, its), each in outcomes.items() if its == form]
        states = Counter(each.state for each in own)
        deployed = sum(each.deployed for each in own if each.state == "exported")
        share = f"{100 * taken(outcomes, form):.1f} % of the measured" if own else "-"
        cells = (title, listed, len(own), states["exported"], deployed, states["cut"], states["refused"], share)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def by_tree(outcomes: dict[tuple[str, str], Outcome]) -> str:
    """A row a form and commit at which nets were measured, and what became of these."""
    states: dict[tuple[str, str], Counter[str]] = {}
    for (_, form), each in outcomes.items():
        states.setdefault((form, each.tree), Counter())[each.state] += 1
    lines = ["\n| form | measured at | nets | exported | cut | refused |", "| --- | --- | --- | --- | --- | --- |"]
    for (form, tree), found in sorted(states.items()):
        shown = "several commits of one day, not kept" if tree == "-" else tree
        cells = (FORMATS[form], shown, found.total(), found["exported"], found["cut"], found["refused"])
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def taken(outcomes: dict[tuple[str, str], Outcome], form: str) -> float:
    """The share of the measured nets that are exported or cut."""
    own = [each for (_, its), each in outcomes.items() if its == form]
    return sum(each.state != "refused" for each in own) / len(own)


def shortened(told: str, most: int = 300) -> str:
    text = told.replace("|", "\\|")
    return text if len(text) <= most else f"{text[:most]} ..."


def main() -> None:
    (FOLDER / "README.md").write_text(page(read(FOLDER / "results.tsv")), encoding="utf-8")


if __name__ == "__main__":
    main()
