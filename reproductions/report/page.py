"""index.html of reproductions/, generated: one file with its style and its plots inside, and nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from reproductions.comparison import Line
from reproductions.report.causes import CAUSES
from reproductions.report.figures import Figure
from reproductions.report.first import FIRST, find_cell
from reproductions.report.sheets import Note, Sheet, signed, value_text

STYLE = Path(__file__).with_name("page.css")
LONG = 40  # letters above which a cell may be broken into lines
TITLE = "Coordinating Filters for Faster Deep Neural Networks: the paper and ours"
HEAD = """<!DOCTYPE html>
<!-- made by `python -m reproductions.report`, do not edit -->
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p class="soft">Numbers of Wen et al., ICCV 2017, beside what caffe_compat measures. README.md in this folder has the
same tables; every number has its command and its log.</p>
"""
READING = """<p>A cell reads paper → ours (difference). ± is the standard deviation over seeds. † was restored from
other numbers of the paper, ‡ read off a drawn curve or bar. A number alone has no counterpart.</p>
"""


def page(
    tables: Mapping[str, list[Line]],
    figures: Sequence[Figure],
    paper: Sequence[Sheet],
    runs: Sequence[Sheet],
    unfinished: Sheet,
) -> str:
    """The whole file."""
    parts = [HEAD.format(title=escape(TITLE), style=STYLE.read_text(encoding="utf-8")), tiles(tables)]
    narrow = "".join(figure_text(figure) for figure in figures if len(figure.pictures) == 1)
    wide = "".join(figure_text(figure) for figure in figures if len(figure.pictures) > 1)
    parts.append(f'<h2>Figures</h2>\n<div class="figures">\n{narrow}</div>\n{wide}')
    parts.append("<h2>Tables of the paper</h2>\n" + READING + "".join(map(sheet_text, paper)))
    causes = "".join(f"<li>{escape(cause)}</li>\n" for cause in CAUSES)
    parts.append(f'<h2>What was missed, and why, as far as we know</h2>\n<ul class="causes">\n{causes}</ul>\n')
    parts.append("<h2>Every run</h2>\n" + "".join(map(folded, runs)))
    if unfinished.rows:
        parts.append("<h2>Unfinished</h2>\n" + table_text(unfinished))
    return "".join(parts) + "</main>\n</body>\n</html>\n"


def tiles(tables: Mapping[str, list[Line]]) -> str:
    """The first numbers one sees: ours, and the paper's with the difference."""
    found = []
    for key, name in FIRST:
        cell = find_cell(tables, *key)
        if cell is None or not (cell.ours or cell.unfinished):
            continue
        unit = {"percent": " %", "times": " times"}.get(cell.published.unit, "")
        paper = value_text(cell.published.value, cell.published.unit) + unit
        if cell.ours is None or cell.difference is None:
            ours, rest = "-", f"paper {paper}; ours is unfinished"
        else:
            ours = value_text(cell.ours.value, cell.published.unit) + unit
            rest = f"paper {paper}, difference {signed(cell.difference, cell.published.unit)}"
        found.append(f"<div><dt>{escape(name)}</dt><dd>{ours}<small>{rest}</small></dd></div>\n")
    return f'<dl class="tiles">\n{"".join(found)}</dl>\n' if found else ""


def figure_text(figure: Figure) -> str:
    """A figure with its caption, legend, plots, and the numbers behind it."""
    wide = ' class="wide"' if len(figure.pictures) > 1 else ""
    keys = "".join(f"<li>{swatch}{escape(text)}</li>" for swatch, text in figure.legend)
    legend = f'<ul class="legend">{keys}</ul>\n' if keys else ""
    numbers = ""
    if figure.rows:
        sheet = Sheet(figure.title, figure.head, figure.rows)
        numbers = f"<details><summary>Numbers</summary>{table_text(sheet)}</details>\n"
    plots = "\n".join(figure.pictures)
    return (
        f'<figure{wide} id="{figure.name}">\n<h3>{escape(figure.title)}</h3>\n'
        f"<figcaption>{escape(figure.caption)}</figcaption>\n{legend}"
        f'<div class="plots">\n{plots}\n</div>\n{numbers}</figure>\n'
    )


def sheet_text(sheet: Sheet) -> str:
    notes = "".join(f"<li>{note_text(note)}</li>\n" for note in sheet.notes)
    listed = f'<ul class="notes">\n{notes}</ul>\n' if notes else ""
    return f'<section class="table">\n<h3>{escape(sheet.title)}</h3>\n{table_text(sheet)}{listed}</section>\n'


def folded(sheet: Sheet) -> str:
    count = f"{len(sheet.rows)} run{'s' if len(sheet.rows) != 1 else ''}"
    return f"<details><summary>{escape(sheet.title)}: {count}</summary>\n{table_text(sheet)}</details>\n"


def table_text(sheet: Sheet) -> str:
    """A table that scrolls by itself where it is wider than the screen."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in sheet.head)
    rows = []
    for i, row in enumerate(sheet.rows):
        cells = [cell_html(text, (i, j) in sheet.strong, sheet.head[j]) for j, text in enumerate(row)]
        cells[0] = cells[0].replace("<td", '<th scope="row"').replace("</td>", "</th>")
        rows.append(f"<tr>{''.join(cells)}</tr>\n")
    label = f'role="region" aria-label="{escape(sheet.title)}" tabindex="0"'
    return f'<div class="scroll" {label}><table>\n<tr>{head}</tr>\n{"".join(rows)}</table></div>\n'


def cell_html(text: str, strong: bool, column: str) -> str:
    if text and column == "log":
        return f'<td><a href="{escape(text)}">log</a></td>'
    shown = escape(text)
    if strong:
        paper, _, ours = shown.partition(" → ")
        value, _, rest = ours.partition(" (")
        shown = f"{paper} → <b>{value}</b> ({rest}"
    return f"<td{' class=long' if len(text) > LONG else ''}>{shown}</td>"


def note_text(note: Note) -> str:
    command = f" <code>{escape(note.command)}</code>" if note.command else ""
    logs = "".join(f' <a href="{escape(log)}">log</a>' for log in note.logs)
    return f"{escape(note.text)}.{command}{logs}"
