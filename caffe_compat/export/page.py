"""A net as one HTML page: a drawing of its layers and what flows between them, and a table. Nothing outside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from string import Template

from caffe_compat.export.boxes import Box, boxes_of
from caffe_compat.export.drawing import FAMILIES, draw, family, sizes
from caffe_compat.net.net import Net
from caffe_compat.showing import in_html


def html_page(net: Net, ranks: Mapping[str, int] | None = None, keep: float = 0.95) -> str:
    """The page for a net. ranks: {layer: rank}, shown beside the largest possible; keep: what they were found for."""
    boxes, edges = boxes_of(net, ranks or {})
    template = Template(resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    drawing, trunk = draw(boxes, edges)
    return template.substitute(
        trunk=f"{trunk:.0f}",
        title=in_html(net.graph.name or "net"),
        summary=_summary(net, boxes, keep if ranks else 0),
        legend=_legend(boxes),
        drawing=drawing,
        table=_table(boxes, bool(ranks)),
    )


def _every(boxes: Iterable[Box]) -> list[Box]:
    return [each for box in boxes for each in (box, *box.in_place)]


def _summary(net: Net, boxes: Sequence[Box], keep: float) -> str:
    every = _every(boxes)
    inputs = ", ".join(f"{name} {sizes(net.shapes[name])}" for name in net.input_names)
    outputs = ", ".join(f"{name} {sizes(net.shapes[name])}" for name in net.output_names)
    spent = sum(each.multiply_adds for each in every)
    lines = [
        f"<b>{len(every)}</b> layers in {net.graph.phase}, "
        f"<b>{sum(each.parameters for each in every):,}</b> parameters, "
        f"<b>{spent:,}</b> multiply-adds for each image of a batch of {net.batch_size}",
        f"from <b>{in_html(inputs) or 'nothing'}</b> to <b>{in_html(outputs) or 'nothing'}</b>",
    ]
    if keep:
        lines.append(f"ranks keep <b>{100 * keep:g} %</b> of the energy of the filters")
    return "\n".join(f"<p>{line}</p>" for line in lines)


def _legend(boxes: Sequence[Box]) -> str:
    used = dict.fromkeys(family(each.type) for each in _every(boxes))
    return "".join(f'<span class="{name}"><i></i>{label}</span>' for name, label in FAMILIES.items() if name in used)


def _table(boxes: Sequence[Box], with_ranks: bool) -> str:
    head = ["layer", "type", "shape", "parameters", "multiply-adds per image", "share"] + ["rank"] * with_ranks
    every = _every(boxes)
    total = sum(each.multiply_adds for each in every)
    places = {id(box): place for place, box in enumerate(boxes)}
    rows = []
    for each in every:
        share = f"{100 * each.multiply_adds / total:.1f} %" if each.multiply_adds else ""
        cells = [each.name, f"{each.type} {each.settings}".strip(), ", ".join(map(sizes, each.shapes))]
        numbers = [f"{count:,}" if count else "" for count in (each.parameters, each.multiply_adds)] + [share]
        if with_ranks:
            numbers.append(f"{each.rank} of {each.largest_rank}" if each.rank else "")
        text = "".join(f"<td>{in_html(cell)}</td>" for cell in cells)
        anchor = f' id="layer-{places[id(each)]}"' if id(each) in places else ""
        rows.append(f"<tr{anchor}>{text}{''.join(f'<td class=number>{number}</td>' for number in numbers)}</tr>")
    titles = "".join(f"<th{' class=number' * (i > 2)}>{word}</th>" for i, word in enumerate(head))
    return f"<table>\n<tr>{titles}</tr>\n" + "\n".join(rows) + "\n</table>"
