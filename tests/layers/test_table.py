"""The table of layer types is what the classes and the tests say; names lead to files; first lines say whose."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import caffe_compat
from caffe_compat.layers.table import SEVERAL_TOPS, Variant, layer_types
from caffe_compat.proto.schema import LayerParameter
from caffe_compat.proto.text import parse_text
from reproductions import layer_types as generator

LAYERS = Path(caffe_compat.__file__).parent / "layers"
FAMILIES = {"activation": "ReLU PReLU ELU Sigmoid TanH BNLL Swish ReLU6 Relu6 Mish", "resample": "Downsample"}
MODULES = sorted(
    path for folder in ("caffe", "forks") for path in (LAYERS / folder).rglob("*.py") if path.name != "__init__.py"
)


def test_the_table_is_that_of_the_classes() -> None:
    fresh = generator.table()
    assert generator.TABLE.read_text(encoding="utf-8") == fresh, "run python -m reproductions.layer_types"
    assert fresh.splitlines()[0].startswith("# made by `python -m reproductions.layer_types`, do not edit")


@pytest.mark.parametrize("name", layer_types())
def test_a_type_shares_a_word_with_the_name_of_its_file(name: str) -> None:
    module = layer_types()[name].module.rpartition(".")[2]
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])\d*|[A-Z][a-z]+\d*", name)]
    shared = any(word in module.replace("_", "") for word in [*words, name.lower()] if len(word) > 1)
    inside = any(word in name.lower() for word in module.split("_") if len(word) > 4)
    assert shared or inside or name in FAMILIES.get(module, "").split(), f"{name}: {module}.py"


@pytest.mark.parametrize("path", MODULES, ids=[path.stem for path in MODULES])
def test_the_first_line_of_a_module_says_whose_semantics_it_has(path: Path) -> None:
    line = path.read_text(encoding="utf-8").splitlines()[0]
    types = re.findall(r'@register\("([^"]+)"\)', path.read_text(encoding="utf-8"))
    if types:
        assert re.search(r"\.(cpp|cu|hpp)\b|/|Caffe 1\.0|forks?\b", line), line
        assert any(name in path.read_text(encoding="utf-8").split('"""')[1] for name in types), line


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES}), ids=lambda path: path.name)
def test_the_table_of_a_package_names_its_modules_and_their_types(folder: Path) -> None:
    head, *lines = (folder / "__init__.py").read_text(encoding="utf-8").split('"""')[1].split("\n")
    package = ".".join(folder.relative_to(LAYERS).parts)
    assert package == "forks" or ": " in head, "whose the types are, a colon, and the repositories"
    text = "\n".join(lines)
    for path in folder.glob("*.py"):
        if path.name == "__init__.py":
            continue
        assert re.search(rf"^\s*{path.stem}  ", text, re.MULTILINE), f"{path.stem} is not in the table of {package}"
        for kind in (each for each in layer_types().values() if each.module == f"{package}.{path.stem}"):
            assert re.search(rf"\b{kind.type}\b", text), f"{kind.type} is not in the table of {package}"


def test_the_frame_names_its_modules() -> None:
    text = (LAYERS / "__init__.py").read_text(encoding="utf-8")
    names = [path.stem for path in LAYERS.glob("*.py") if path.name != "__init__.py"]
    assert [name for name in names if not re.search(rf"^    {name}  ", text, re.MULTILINE)] == []


@pytest.mark.parametrize("name", layer_types())
def test_what_a_type_is_compared_with_is_there(name: str) -> None:
    whose, _, path = layer_types()[name].exact.partition(": ")
    assert whose in ("Caffe", "reference") and (LAYERS.parent.parent / path).is_file()


@pytest.mark.parametrize(
    ("field", "text", "concerned"),
    [
        ("convolution_param.relu", "convolution_param { relu: true }", True),
        ("convolution_param.relu", "convolution_param { num_output: 1 }", False),
        ("convolution_param.relu", "", False),
        (SEVERAL_TOPS, 'top: "a" top: "b"', True),
        (SEVERAL_TOPS, 'top: "a"', False),
        ("python_param.module=a.b", 'python_param { module: "a.b" }', True),
        ("python_param.module=a.b", 'python_param { module: "a" }', False),
    ],
)
def test_a_variant_is_chosen_by_fields(field: str, text: str, concerned: bool) -> None:
    param = parse_text(f'name: "lay" type: "x" {text}', LayerParameter)
    assert Variant("m", ("power_param.power", field)).concerns(param) is concerned
