"""The tables that only the site has: layer types, speeds, benchmarks, what outside tools do, and the public names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import caffe_compat as cc
from reproductions.runs import HERE, read_runs

ROOT = HERE.parent
BENCHMARKS = ROOT / "tests" / "benchmarks"
FINDINGS = ROOT / "findings"


def markdown(rows: Iterable[tuple[Any, ...]]) -> str:
    """Rows, the first of them the head, as a Markdown table."""
    head, *body = [f"| {' | '.join(row)} |\n" for row in rows]
    return head + re.sub(r"[^|\n]+", "---", head) + "".join(body)


def layers() -> str:
    """One row a layer type of the package."""
    table = [("type", "whose", "forward", "backward", "ONNX", "compared with")]
    for name, kind in cc.layer_types().items():
        exact = re.sub(r"tests/[\w/]+\.py", lambda found: f"`{found[0]}`", kind.exact)
        table.append((f"`{name}`", kind.whose, kind.forward, kind.backward, "yes" if kind.onnx else "no", exact or "-"))
    return markdown(table)


def speeds() -> str:
    """One row a measured layer of a recorded speed run: measured, by multiply-adds, and the command."""
    table = [("net, ranks", "layer", "measured", "by multiply-adds", "device", "command")]
    for run in read_runs():
        threads = f", {run.threads} thread{'s' if run.threads != 1 else ''}" if run.threads else ""
        for (metric, layer), value in run.measures.items():
            if metric == "CPU speedup":
                theory = run.measures.get(("theoretical speedup", layer))
                promised = "-" if theory is None else f"{theory:.2f} times"
                name = f"{run.network}: {run.method}"
                device = f"{run.device}{threads}, commit {run.commit}"
                table.append((name, layer, f"{value:.2f} times", promised, device, f"`{run.command}`"))
    return markdown(table)


def benchmarks() -> str:
    """One row a file of benchmarks: what its docstring says first, and the figures that it refuses to miss."""
    table = [("what is measured", "file")]
    for path in sorted(BENCHMARKS.glob("test_*.py")):
        told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        table.append((told.partition("\n\n")[0].replace("\n", " "), f"`tests/benchmarks/{path.name}`"))
    return markdown(table)


def outside() -> str:
    """One section a script of findings/: the comment at its head."""
    parts = []
    for path in sorted(FINDINGS.glob("*.sh")):
        parts.append(f"## {path.stem.replace('_', ' ')}\n\n{head_comment(path)}\n\n`bash findings/{path.name}`\n")
    return "\n".join(parts)


def head_comment(path: Path) -> str:
    """The comment below the first line of a shell script, without the lines on its exit status."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return re.sub(r"\s*Exits? 0 .*", "", "\n".join(lines), flags=re.DOTALL).replace("<", "&lt;")


def api() -> str:
    """One section a package, with a directive for each public name, by the module that has it."""
    homes: dict[str, list[str]] = {}
    for name in cc.__all__:
        homes.setdefault(cc._HOMES[name], []).append(name)
    sections: dict[str, list[str]] = {}
    for home, names in sorted(homes.items()):
        sections.setdefault(home.partition(".")[0], []).extend(f"::: caffe_compat.{home}.{name}\n" for name in names)
    return "\n".join(f"## {package}\n\n" + "\n".join(lines) for package, lines in sections.items())


TABLES = {"layers": layers, "speeds": speeds, "benchmarks": benchmarks, "outside": outside, "api": api}
