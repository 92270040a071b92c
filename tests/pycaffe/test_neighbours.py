"""Scripts of the same kinds as those of test_golden: what real pycaffe answered (golden/pycaffe_neighbours)."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

import caffe_compat.pycaffe as caffe
from caffe_compat.pycaffe.door import open_door
from tests.conftest import golden
from tests.pycaffe.neighbours import FOLDER, answer, scripts
from tests.pycaffe.test_golden import runner

pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::DeprecationWarning"
)
ANSWERS = {(file.stem, name): answer for file in sorted(FOLDER.glob("*.json"))
           for name, answer in json.loads(file.read_text()).items()}  # fmt: skip


@pytest.mark.parametrize(("file", "name"), ANSWERS)
def test_answers_are_those_of_real_pycaffe(
    file: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(golden("pycaffe")))
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in ("caffe", "kit"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    before = set(sys.modules)
    open_door()
    kit: Any = importlib.import_module("kit")
    got = answer(scripts(file)[name], caffe, kit, kit.Facts())
    for module in set(sys.modules) - before:
        if module in ("kit", "plm"):
            del sys.modules[module]
    assert not runner.judge(ANSWERS[file, name], got)[2]


def test_every_script_has_its_answer() -> None:
    assert {(file.stem, name) for file in FOLDER.glob("*.py") for name in _names(file)} == set(ANSWERS)


def _names(file: Path) -> list[str]:
    return [line.split("(")[0].split()[1] for line in file.read_text().splitlines() if line.startswith("def case_")]
