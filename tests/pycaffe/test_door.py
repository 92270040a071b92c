"""Modules of `caffe` that only a fork has are found where the script's path leads."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
sys.path.insert(0, "fork/python")
import caffe
from caffe.model_libs import made
import caffe.io
print(made().to_proto().layer[0].type, caffe.io.__name__)
"""


def test_a_forks_own_module_is_found_on_the_path_and_ours_comes_first(tmp_path: Path) -> None:
    folder = tmp_path / "fork" / "python" / "caffe"
    folder.mkdir(parents=True)
    (folder / "model_libs.py").write_text("from caffe import layers as L\n\ndef made():\n    return L.Input()\n")
    (folder / "io.py").write_text("raise ValueError\n")
    (tmp_path / "s.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "caffe_compat", "python", "s.py"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert found.stdout == "Input caffe_compat.pycaffe.io\n", found.stderr
