"""The tables that only the site has: layer types, speeds, benchmarks, what outside tools do, and the public names."""

from __future__ import annotations

import re
from pathlib import Path

import caffe_compat as cc
from reproductions.performance import benchmarks, markdown, speeds
from reproductions.runs import HERE

ROOT = HERE.parent
FINDINGS = ROOT / "findings"
# The packages in the order in which a user meets them; any other comes behind.
PIPELINE = ("proto", "net", "solver", "decompose", "prune", "export", "recipes", "data", "layers", "graph", "pycaffe")


def layers() -> str:
    """One row a layer type of the package."""
    table = [("type", "whose", "forward", "backward", "ONNX", "compared with")]
    for name, kind in cc.layer_types().items():
        exact = re.sub(r"tests/layers/([\w/]+\.py)", r"`\1`", kind.exact)
        table.append((f"`{name}`", kind.whose, kind.forward, kind.backward, "yes" if kind.onnx else "no", exact or "-"))
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
    sections: dict[str, list[str]] = {package: [] for package in PIPELINE}
    for home, names in sorted(homes.items()):
        sections.setdefault(home.partition(".")[0], []).extend(f"::: caffe_compat.{home}.{name}\n" for name in names)
    return "\n".join(f"## {package}\n\n" + "\n".join(lines) for package, lines in sections.items() if lines)


TABLES = {"layers": layers, "speeds": speeds, "benchmarks": benchmarks, "outside": outside, "api": api}
