"""The table of layer types, caffe_compat/layers/types.tsv, made anew from the classes and the tests.

`python -m reproductions.layer_types` writes it; whoever adds a type, moves one, or gives one another test, runs it.
"""

from __future__ import annotations

import ast
import csv
import functools
import importlib
import io
import json
import pkgutil
import re
from pathlib import Path

import caffe_compat as cc
from caffe_compat.layers import caffe, forks, registry
from caffe_compat.layers.base import Layer
from caffe_compat.layers.python_modules import stand_ins
from caffe_compat.layers.shapes_only import ShapesOnly
from caffe_compat.layers.source import SourceLayer
from caffe_compat.layers.table import LayerType, Variant, row

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "caffe_compat" / "layers" / "types.tsv"
TESTS = ROOT / "tests" / "layers"
GOLDEN = ROOT / "tests" / "golden"
GOLDEN_TEST = "tests/layers/test_golden_layers.py"
FIRST = (
    "# made by `python -m reproductions.layer_types`, do not edit: every layer type, where it is, what is known of it\n"
)
PREFIX = "caffe_compat.layers."


def table() -> str:
    """The text of the table: a line that says it is made, the columns, and a line a type."""
    for package in (caffe, forks):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    golden = golden_types()
    kinds = [item for item in sorted(registry.registered().items()) if item[1].__module__.startswith(PREFIX)]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(LayerType.__dataclass_fields__), delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(row(line(name, kind, golden)) for name, kind in kinds)
    return FIRST + file.getvalue()


def line(name: str, kind: type[Layer], golden: frozenset[str]) -> LayerType:
    """What the table says of the type `name`, whose class is `kind`."""
    module = kind.__module__.removeprefix(PREFIX)
    variants = [each for each, _ in registry.choosers(name)]
    if name == "Python":
        homes = {other.__module__ for other in stand_ins().values()}
        variants = [Variant(home.removeprefix(PREFIX), _modules(home)) for home in sorted(homes)]
    return LayerType(
        name,
        module,
        kind.__name__,
        whose(module),
        bool(kind.default_loss_weight),
        kind.works_in_place,
        _forward(kind),
        kind.gradient,
        name in cc.onnx_types() or issubclass(kind, SourceLayer),
        evidence(name, kind, golden),
        tuple(variants),
        first_line(module),
    )


def _modules(home: str) -> tuple[str, ...]:
    """The Python modules whose layers classes of the module `home` stand in for."""
    named = {module for (module, _), kind in stand_ins().items() if kind.__module__ == home}
    return tuple(f"python_param.module={module}" for module in sorted(named))


def _forward(kind: type[Layer]) -> str:
    if issubclass(kind, ShapesOnly):
        return "shapes"
    return "given" if issubclass(kind, SourceLayer) and kind.fed is not False else "computed"


def whose(module: str) -> str:
    """Caffe's, the paper's, or the fork family's, as the first line of the package says before its colon."""
    if "the paper's fork" in first_line(module):
        return "the paper"
    return first_line(module.rpartition(".")[0]).partition(":")[0]


def first_line(module: str) -> str:
    """The first line of a module's or package's docstring."""
    text = importlib.import_module(PREFIX + module).__doc__
    assert text is not None, f"{module} has no docstring"
    return text.splitlines()[0]


def golden_types() -> frozenset[str]:
    """The types that golden cases of real Caffe hold."""
    cases = json.loads((GOLDEN / "layers" / "cases.json").read_text(encoding="utf-8"))
    found = {name for case in cases if case["source"] == "caffe" for name in case["types"]}
    for path in (GOLDEN / "formats" / "data").glob("*.prototxt"):
        found |= set(re.findall(r'^\s*type: "(\w+)"', path.read_text(encoding="utf-8"), re.MULTILINE))
    return frozenset(found)


def evidence(name: str, kind: type[Layer], golden: frozenset[str]) -> str:
    """What the numbers of a type are compared with, Caffe's own or what a test computes, and the test."""
    if name in golden and not issubclass(kind, SourceLayer):
        return f"Caffe: {GOLDEN_TEST}"
    *folders, last = kind.__module__.removeprefix(PREFIX).split(".")
    own = TESTS.joinpath(*folders, f"test_{last}.py")
    same = [other for other, its in registry.registered().items() if its is kind]
    for path in (own, *sorted(set(TESTS.rglob("test_*.py")) - {own, TESTS / "test_gradients.py"})):
        if path.is_file() and any(other in strings(path) for other in (name, *same)):
            return f"{'Caffe' if name in golden else 'reference'}: {path.relative_to(ROOT).as_posix()}"
    return ""


@functools.cache
def strings(path: Path) -> frozenset[str]:
    """The words that a test file has in quotes, in its strings and in the prototxts among them."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return frozenset({*texts, *re.findall(r'"(\w+)"', " ".join(texts))})


def main() -> None:
    TABLE.write_text(table(), encoding="utf-8")


if __name__ == "__main__":
    main()
