"""Run the scripts of tests/golden/pycaffe_neighbours on a module, and record what it answers.

`PYTHONPATH=CAFFE/python:. python3 tests/pycaffe/neighbours.py FILE` writes FILE.json from real pycaffe (commit 9b89154,
OpenBLAS, CPU; NumPy, h5py and Pillow beside it), each script in a process of its own, for some of them end it.
"""

import importlib
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "golden" / "pycaffe_neighbours"


def scripts(name: str) -> dict[str, Any]:
    """The functions run(caffe, facts) of a file, by name; its folder and that of `kit` are on sys.path."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name: run for name, run in vars(module).items() if name.startswith("case_")}


def answer(run: Any, caffe: Any, kit: Any, facts: dict[str, Any]) -> dict[str, Any]:
    """What a script says, in the working folder, in the form of tests/golden/pycaffe/expected."""
    try:
        run(caffe, facts)
    except Exception as error:
        return {"end": "raised", "raises": kit.builtin_base(error), "facts": dict(facts)}
    return {"end": "returned", "facts": dict(facts)}


def _recorded(run: Any, caffe: Any, kit: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        child = os.fork()
        if not child:
            os.chdir(folder)
            sys.path.insert(0, folder)
            os.dup2(os.open("said", os.O_CREAT | os.O_WRONLY), 2)
            os.environ["KIT_JOURNAL"] = "journal"
            Path("end").write_text(json.dumps(answer(run, caffe, kit, kit.Facts())))
            os._exit(0)
        os.waitpid(child, 0)
        end = Path(folder, "end")
        if end.exists():
            found: dict[str, Any] = json.loads(end.read_text())
            return found
        journal = Path(folder, "journal")
        facts = dict(map(json.loads, journal.read_text().splitlines())) if journal.exists() else {}
        words = [line.split("] ", 1)[-1] for line in Path(folder, "said").read_text().splitlines() if line[:1] == "F"]
        return {"end": "aborted", "check": words[:1], "facts": facts}


if __name__ == "__main__":
    sys.path.insert(0, str(FOLDER.parent / "pycaffe"))
    chosen = sys.argv[1]
    modules = importlib.import_module("caffe"), importlib.import_module("kit")
    answers = {name: _recorded(run, *modules) for name, run in scripts(chosen).items()}
    Path(f"{chosen}.json").write_text(json.dumps(answers, separators=(",", ":"), sort_keys=True))
