"""index.html of reproductions/, generated: one file with its style and its plots inside, and nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from reproductions.comparison import Line
from reproductions.report.causes import CAUSES
from reproductions.report.figures import Figure
from reproductions.report.first import LEAD, find_cell
from reproductions.report.sheets import Note, Sheet, signed, with_unit

STYLE = Path(__file__).with_name("page.css")
LONG = 40  # letters above which a cell may be broken into lines
TITLE = "Coordinating Filters: the paper and ours"
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
"""
SOURCE = """<p class="soft">Numbers of Wen et al., ICCV 2017, beside what caffe_compat measures. README.md in this
folder has the same tables; every number has its command and its log.</p>
"""
READING = """<p>A cell reads paper → ours (difference). ± is the standard deviation over seeds. † was restored from
other numbers of the paper, ‡ read off a drawn curve or bar. A number alone has no counterpart.</p>
"""


def page(
    said: Sequence[str],
    tables: Mapping[str, list[Line]],
    figures: Sequence[Figure],
    paper: Sequence[Sheet],
    runs: Sequence[Sheet],
    unfinished: Sheet,
) -> str:
    """The whole file. said: the sentences that stand first."""
    parts = [HEAD.format(title=escape(TITLE), style=STYLE.read_text(encoding="utf-8"))]
    narrow = [figure for figure in figures if len(figure.pictures) == 1]
    wide = [figure for figure in figures if len(figure.pictures) > 1]
    drawn = "".join(map(figure_text, narrow)), "".join(map(figure_text, wide))
    causes = "".join(f"<li>{escape(cause)}</li>\n" for cause in CAUSES)
    sections = [
        Section("figures", "Figures", f'<div class="figures">\n{drawn[0]}</div>\n{drawn[1]}',
                [(figure.name, figure.title) for figure in (*narrow, *wide)]),
        Section("tables", "Tables of the paper", READING + "".join(map(sheet_text, paper)),
                [(anchor(sheet.title), sheet.title) for sheet in paper]),
        Section("missed", "What was missed, and why, as far as we know", f'<ul class="causes">\n{causes}</ul>\n'),
        Section("runs", "Every run", "".join(map(folded, runs)),
                [(anchor(sheet.title), sheet.title) for sheet in runs]),
    ]  # fmt: skip
    if unfinished.rows:
        sections.append(Section("unfinished", "Unfinished", table_text(unfinished)))
    parts += [opening(said, tables), contents(sections), SOURCE, *(section.text() for section in sections)]
    return "".join(parts) + "</main>\n</body>\n</html>\n"


@dataclass(frozen=True)
class Section:
    """A part of the page. inside: (anchor, title) of what has an anchor of its own in it."""

    name: str
    title: str
    body: str
    inside: Sequence[tuple[str, str]] = ()

    def text(self) -> str:
        return f'<h2 id="{self.name}">{escape(self.title)}</h2>\n{self.body}'


def anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def contents(sections: Sequence[Section]) -> str:
    """The table of contents: a line of sections, and what is in each behind a fold."""
    links = "".join(f'<li><a href="#{each.name}">{escape(each.title)}</a></li>' for each in sections)
    parts = "".join(
        f"<li>{escape(each.title)}<ul>"
        + "".join(f'<li><a href="#{name}">{escape(title)}</a></li>' for name, title in each.inside)
        + "</ul></li>\n"
        for each in sections
        if each.inside
    )
    folded_parts = f"<details><summary>All figures and tables</summary>\n<ul>{parts}</ul></details>\n" if parts else ""
    return f'<nav aria-label="Contents">\n<ul>{links}</ul>\n{folded_parts}</nav>\n'


def opening(said: Sequence[str], tables: Mapping[str, list[Line]]) -> str:
    """The first screen: sentences and numbers, as far as they were measured."""
    return (f'<p class="lead">{escape(" ".join(said))}</p>\n' if said else "") + tiles(tables)


def tiles(tables: Mapping[str, list[Line]]) -> str:
    """Three numbers: ours, and the paper's with the difference."""
    found = []
    for key, name in LEAD:
        cell = find_cell(tables, *key)
        if cell is not None and cell.ours is not None and cell.difference is not None:
            ours, paper = (with_unit(value, cell.published.unit) for value in (cell.ours.value, cell.published.value))
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
    head = f'<section class="table" id="{anchor(sheet.title)}">\n<h3>{escape(sheet.title)}</h3>'
    return f"{head}\n{table_text(sheet)}{listed}</section>\n"


def folded(sheet: Sheet, name: str = "") -> str:
    """A table behind a fold; its anchor is that of `name`, or of its title."""
    count = f"{len(sheet.rows)} run{'s' if len(sheet.rows) != 1 else ''}"
    head = f'<details id="{anchor(name or sheet.title)}"><summary>{escape(sheet.title)}: {count}</summary>'
    return f"{head}\n{table_text(sheet)}</details>\n"


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
