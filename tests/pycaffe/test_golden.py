"""What real pycaffe answered (tests/golden/pycaffe), asked of the drop-in; each case in this process, see -m slow."""

import importlib
import importlib.util
import json
import sys
from typing import Any

import pytest

import caffe_compat.pycaffe as caffe
from caffe_compat.pycaffe.door import open_door
from tests.conftest import golden
from tests.pycaffe.conftest import needs

FOLDER = golden("pycaffe")
NAMES = sorted(file.stem for file in (FOLDER / "cases").glob("*.py"))
PACKAGES = {
    "classifier": ("skimage",),
    "detector": ("skimage", "PIL"),
    "draw_graph": ("pydot", "dot"),
    "io_load_image": ("skimage", "PIL"),
    "io_resize": ("skimage",),
}


def _module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


runner = _module("run_cases")
pytestmark = pytest.mark.filterwarnings(  # scripts of pycaffe's days leave files to the garbage collector
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def _expected(name: str) -> dict[str, Any]:
    answers: dict[str, Any] = json.loads((FOLDER / "expected" / f"{name}.json").read_text())
    return answers


CASES = [(name, variant) for name in NAMES for variant in _expected(name)]


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_answers_are_those_of_real_pycaffe(name: str, variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    needs(*PACKAGES.get(name, ()))
    monkeypatch.syspath_prepend(str(FOLDER))
    for module in ("caffe", "kit"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    before = set(sys.modules)
    open_door()
    wanted = _expected(name)[variant]
    kit, facts = importlib.import_module("kit"), {}

    def keep(self: Any, key: str, value: Any) -> None:
        facts[key] = kit.clean(value)
        dict.__setitem__(self, key, facts[key])

    kit.Facts.__setitem__ = keep
    got: dict[str, Any] = {"end": "returned", "facts": facts}
    case = _module(f"cases/{name}")
    try:
        case.run(caffe, variant) if variant != "main" else case.run(caffe)
    except Exception as error:
        got |= {"end": "raised", "raises": kit.builtin_base(error), "_message": str(error)}
    finally:
        for module in set(sys.modules) - before:
            if module.endswith("mod") or module == "kit":
                del sys.modules[module]
    different = runner.judge(wanted, got)[2]
    assert not different


@pytest.mark.slow
def test_answers_are_those_of_real_pycaffe_each_in_a_process_of_its_own() -> None:
    needs("skimage", "PIL", "pydot", "dot")
    for name in NAMES:
        for variant, wanted in _expected(name).items():
            path = str(FOLDER / "cases" / f"{name}.py")
            got = runner.run_one("caffe_compat.pycaffe", path, variant, sys.executable, 120)
            assert not runner.judge(wanted, got)[2], (name, variant)


def test_a_case_that_answers_wrongly_is_found() -> None:
    """The judge itself: a fact off by a thousandth, or one more, is a difference."""
    wanted = _expected("solver_manual")["main"]
    got = json.loads(json.dumps(wanted))
    assert not runner.judge(wanted, got)[2]
    got["facts"]["w"][0][0] *= 1.001
    assert runner.judge(wanted, got)[2]
