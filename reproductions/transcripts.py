"""The transcripts of docs/: `python -m reproductions.transcripts` runs every page and writes what its commands print.

A page is run as a reader follows it: Start in a new folder, any other page in a copy of the folder that Start left, so
that none needs another. A block with a title is a file of that name, a `python` block without one is a program, and a
`console` block has commands behind `$ ` with what they print. The last line of a page has the digest of its blocks, so
that a block that was edited and not run is found without running anything: `--check`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"
START = "index.md"
PAGES = (
    START,
    "how-to/train.md",
    "how-to/look.md",
    "how-to/shrink.md",
    "how-to/deploy.md",
    "how-to/files.md",
    "how-to/pycaffe.md",
    "extending.md",
    "old-model.md",
    "script.md",
    "concepts.md",
    "reproductions.md",
)
BLOCK = re.compile(r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.DOTALL | re.MULTILINE)
PROGRAMS = {"python": "", "caffe-compat": " -m caffe_compat", "torchrun": " -m torch.distributed.run"}
RUN = ("console", "python")  # what a reader types; a title makes a file of any block
END = "<!-- run by `python -m reproductions.transcripts`; blocks: {digest} -->\n"
ENDED = re.compile(re.escape(END).replace(r"\{digest\}", "([0-9a-f]{16})"))
MINUTES = 10  # that a single command may take
STAMP = re.compile(r"^([IWE])\d{4} [\d:.]+ +\d+ \w+\.py:\d+\]", re.MULTILINE)
LOGGED = re.compile(r"(^[IWE]\d{4} [\d:.]+ +\d+ )\w+\.py", re.MULTILINE)
FOLLOWED = re.compile(r"^I\d{4} [\d:.]+ +\d+ following\.py:\d+\] .*\n", re.MULTILINE)  # only where work takes long
NUMBER = re.compile(r"(?<![\w#])[-+±]?\d[\d.,:]*(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page. title: the file that it is, "" for none."""

    language: str
    title: str
    text: str

    @property
    def runs(self) -> bool:
        return bool(self.title) or self.language in RUN


@dataclass(frozen=True)
class Command:
    """A command of a console block and what it printed."""

    words: str
    output: str


def blocks(text: str) -> list[Block]:
    """Every fenced block of a page, in order."""
    return [Block(found["language"], found["title"] or "", found["text"]) for found in BLOCK.finditer(text)]


def commands(text: str) -> list[Command]:
    """The commands of a console block: lines behind `$ `, gone on behind a backslash, and the lines below each."""
    found: list[Command] = []
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        count = 1
        while lines[count - 1].rstrip("\n").endswith("\\"):
            count += 1
        found.append(Command("".join(lines[:count]).rstrip("\n"), "".join(lines[count:])))
    return found


def digest(text: str) -> str:
    """Of all blocks that run, what they printed included."""
    parts = [f"{block.language}\n{block.title}\n{block.text}" for block in blocks(text) if block.runs]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def is_stale(text: str) -> bool:
    """Whether a block of the page is not as it was when the page was run."""
    found = ENDED.search(text)
    return found is None or found[1] != digest(text)


def masked(text: str) -> str:
    """`text` with numbers as #, blanks that may be as many as numbers are wide as one, and no modules of log lines."""
    text = LOGGED.sub(r"\1log.py", text)
    return re.sub(r"[-\s#]+", lambda found: "#" if "#" in found[0] else " ", NUMBER.sub("#", text)).strip()


def unstamped(text: str) -> str:
    """`text` without the moment, process and place of log lines; with every other number, for they tell of one run."""
    return STAMP.sub(r"\1", text).strip()


class Folder:
    """Where the pages are run: a folder below `root`, with the programs as this Python has them."""

    def __init__(self, root: Path) -> None:
        self.work, programs = root / "work", root / "bin"
        for folder in (self.work, programs):
            folder.mkdir(parents=True, exist_ok=True)
        for name, words in PROGRAMS.items():
            (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
            (programs / name).chmod(0o755)
        given = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "120", "OMP_NUM_THREADS": "1"}
        path = os.pathsep.join([str(DOCS.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.environment = {**os.environ, **given, "PYTHONPATH": path}

    def run(self, words: list[str], text: str = "") -> tuple[int, str]:
        """Exit status, and both streams as a terminal shows them."""
        done = subprocess.run(
            words,
            cwd=self.work,
            env=self.environment,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60 * MINUTES,
        )
        return done.returncode, done.stdout

    def written(self, page: str, text: str) -> str:
        """The text of a page with what its commands print now. RuntimeError where a program fails."""

        def anew(found: re.Match[str]) -> str:
            block = Block(found["language"], found["title"] or "", found["text"])
            if block.title:
                path = self.work / block.title
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, encoding="utf-8")
            elif block.language == "console":
                return f"```console\n{self._typed(page, block.text)}```"
            elif block.language == "python":
                self._python(page, block.text)
            return found[0]

        text = ENDED.sub("", BLOCK.sub(anew, text)).rstrip("\n") + "\n\n"
        return text + END.format(digest=digest(text))

    def _typed(self, page: str, text: str) -> str:
        parts = []
        for command in commands(text):
            status, output = self.run(["bash", "-c", command.words])
            if status > 1:
                raise RuntimeError(f"{page}: exit status {status} of {command.words}\n{output}")
            output = re.sub(r" +$", "", FOLLOWED.sub("", output), flags=re.MULTILINE)
            output = command.output if unstamped(output) == unstamped(command.output) else output
            parts.append(f"$ {command.words}\n{output}")
        return "".join(part if part.endswith("\n") else part + "\n" for part in parts)

    def _python(self, page: str, text: str) -> None:
        status, output = self.run([sys.executable, "-"], text)
        if status:
            raise RuntimeError(f"{page}: this fails:\n{text}\n{output}")


def run_pages(pages: tuple[str, ...] = PAGES, root: Path | None = None) -> Iterator[tuple[str, str, str]]:
    """Run pages in new folders, or below `root`: (page, its text, its text as it would be written now).

    Start comes first where it is not among the pages and no run of it lies below `root`.
    """
    with tempfile.TemporaryDirectory() as new:
        root = root or Path(new)
        start = root / "start"
        if START not in pages and not start.exists():
            Folder(start).written(START, (DOCS / START).read_text(encoding="utf-8"))
        for page in sorted(pages, key=lambda page: page != START):
            folder = start if page == START else root / page.removesuffix(".md").replace("/", "-")
            if page != START:
                shutil.copytree(start, folder, symlinks=True)
            text = (DOCS / page).read_text(encoding="utf-8")
            yield page, text, Folder(folder).written(page, text)


def main(words: list[str] | None = None) -> int:
    """0; with --check 1 where a page was edited and not run."""
    parser = argparse.ArgumentParser(prog="python -m reproductions.transcripts", description=__doc__)
    parser.add_argument("--check", action="store_true", help="run nothing; exit status 1 where a page is stale")
    parser.add_argument("--pages", metavar="A,B", help="only these")
    parser.add_argument("--root", type=Path, metavar="DIR", help="run here, where Start may have left its files")
    arguments = parser.parse_args(words)
    pages = tuple(arguments.pages.split(",")) if arguments.pages else PAGES
    if arguments.check:
        stale = [page for page in pages if is_stale((DOCS / page).read_text(encoding="utf-8"))]
        if stale:
            print(f"stale: {', '.join(stale)}; run `python -m reproductions.transcripts`", file=sys.stderr)
        return 1 if stale else 0
    for page, _, text in run_pages(pages, arguments.root):
        (DOCS / page).write_text(text, encoding="utf-8")
        print(page, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
