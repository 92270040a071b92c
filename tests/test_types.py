"""A user's script that imports the package passes mypy --strict, and knows the types of what it gets."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import caffe_compat

SCRIPT = """
import numpy as np
import caffe_compat as cc

model: cc.Model = cc.read_model("lenet.prototxt", "lenet.caffemodel")
net = cc.Net(model, phase="TEST")
shapes: dict[str, tuple[int, ...]] = net.shapes
scores = net(np.zeros((1, 1, 28, 28), np.float32))["prob"]
solver = cc.watch(cc.Solver("solver.prototxt", weights="lenet.caffemodel", callbacks=[cc.KeepLast(3)]))
solver.step(10)
loss: float = solver.loss
ranks: dict[str, int] = cc.ranks_by_energy(solver, keep=0.95)
small: cc.Model = cc.decompose(net, ranks)
print(cc.compare_cost("lenet.prototxt", small).speedup)
cc.write_model(small, "small.prototxt", "small.caffemodel")
try:
    cc.Net("absent.prototxt")
except cc.CaffeCompatError as error:
    print(error)
reveal_type(small.weights)
reveal_type(cc.outline("a.caffemodel").blobs)
"""


def test_types_are_shipped():
    root = Path(caffe_compat.__file__).parent
    assert (root / "py.typed").exists()
    assert "caffe_compat = py.typed" in (root.parent / "setup.cfg").read_text()


def test_every_public_name_is_exported_for_type_checkers():
    tree = ast.parse(Path(caffe_compat.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    (listed,) = (node.value for node in block.body if isinstance(node, ast.Assign))
    names = [name.value for name in listed.elts]
    assert names == caffe_compat.__all__, f"put into __all__: {sorted(set(caffe_compat.__all__) ^ set(names))}"


@pytest.mark.slow
def test_a_users_script_passes_mypy_strict(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "script.py").write_text(SCRIPT)
    root = Path(caffe_compat.__file__).parent.parent
    command = [sys.executable, "-m", "mypy", "--strict", "--ignore-missing-imports", "script.py"]
    environment = {"MYPYPATH": str(root), "PATH": "/usr/bin:/bin", "MYPY_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    errors = [line for line in done.stdout.splitlines() if "script.py" in line and ": error:" in line]
    assert not errors and "script.py" in done.stdout
    assert 'Revealed type is "dict[str, tuple[' in done.stdout.replace("builtins.", "")
    assert "BlobOutline" in done.stdout and '"Any"' not in done.stdout
