"""The notebooks of examples/: executed as they stand, whole, without faults, and once more headless."""

import json
import re
from importlib.util import find_spec

import pytest

from tests.conftest import ROOT, shared

NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "examples").glob("*.ipynb"))}


def code_cells(path):
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def test_there_is_one_for_each_story():
    assert set(NOTEBOOKS) == {"train_with_force", "shrink_a_real_model", "old_caffemodel_to_onnx_runtime"}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_was_executed_from_the_first_cell_to_the_last(name):
    cells = code_cells(NOTEBOOKS[name])
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert len(outputs) > 3 and all(output["output_type"] != "error" for output in outputs)
    for cell in cells:
        compile("".join(cell["source"]), name, "exec")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_tells_nothing_of_the_machine_that_ran_it(name):
    text = NOTEBOOKS[name].read_text(encoding="utf-8")
    assert not re.search(r"[\"' (=]/(home|root|tmp|work|usr|opt|Users)\b", text)


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs_headless(name, tmp_path, monkeypatch):
    for module in ("nbclient", "nbformat", "ipykernel", "matplotlib", "sklearn", "cv2", "onnx", "onnxruntime"):
        if find_spec(module) is None:
            pytest.skip(f"the notebooks need the package {module}")
    import nbformat
    from nbclient import NotebookClient

    if name != "train_with_force":
        monkeypatch.setenv("MODELS", str(shared("models")))
        monkeypatch.setenv("IMAGES", str(shared("data", "imagenet-sample")))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("MPLBACKEND", "agg")
    notebook = nbformat.read(NOTEBOOKS[name], as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    printed = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert len(printed) > 3
