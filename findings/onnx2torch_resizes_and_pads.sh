#!/usr/bin/env bash
# onnx2torch 1.5.15 reads these ONNX operators otherwise than they are defined: a linear Resize on the asymmetric grid,
# the only one of operator set 10, takes that of half_pixel; a Pad of sets up to 10 pads with 0, whatever its value is;
# a PRelu whose slopes lie along the columns (ONNX lets a vector broadcast along the last axis) makes them those of the
# channels where there are as many; IsInf with detect_negative: 0 finds -inf too. Nothing is said, and the shapes are
# right. align_corners, a Pad of set 11 and slopes of shape n x 1 x 1 are right. ONNX Runtime 1.31.1 follows the
# definitions. `export --format torch` writes PyTorch without such a tool.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    torch==2.13.0 numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps onnx2torch==1.5.15
cat > "$folder/look.py" <<'PYTHON'
import sys
from unittest.mock import MagicMock

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

for name in ("torchvision", "torchvision.ops"):  # for boxes alone, and another build of it would not load
    sys.modules[name] = MagicMock()
from onnx2torch import convert  # noqa: E402

MAP = np.float32([[1, 2], [3, 4]]).reshape(1, 1, 2, 2)


def both(version, operator, data, constants=None, kind=TensorProto.FLOAT, **fields):
    """What onnx2torch and ONNX Runtime make of one node on `data`."""
    constants = constants or {}
    node = helper.make_node(operator, ["x", *constants], ["y"], **fields)
    ends = [("x", TensorProto.FLOAT, data.shape), ("y", kind, None)]
    ends = [helper.make_tensor_value_info(*each) for each in ends]
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph([node], "one", ends[:1], ends[1:], stored)
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)
    text = whole.SerializeToString()
    with torch.no_grad():
        one = convert(onnx.load_from_string(text)).eval()(torch.from_numpy(data.copy())).numpy()
    session = onnxruntime.InferenceSession(text, providers=["CPUExecutionProvider"])
    return one, session.run(None, {"x": data})[0]


def look(name, right, found):
    """Print the first row of both, where ONNX Runtime has the right values."""
    one, other = found
    assert np.allclose(other, right) and one.shape == other.shape
    rows = [" ".join(f"{value:g}" for value in each.reshape(-1, each.shape[-1])[0]) for each in found]
    print(f"{name}: onnx2torch {rows[0]} ONNX Runtime {rows[1]}")


padded = np.pad(MAP, [(0, 0), (0, 0), (0, 0), (1, 1)], constant_values=-7)
sides = [0, 0, 0, 1, 0, 0, 0, 1]
look("Pad-2", padded, both(10, "Pad", MAP, pads=sides, value=-7.0))
look("Pad-11", padded, both(11, "Pad", MAP, {"p": np.int64(sides), "v": np.float32(-7)}))
grid = np.minimum(np.arange(4) / 2, 1)
larger = 1 + grid + 2 * grid[:, None]
scales = np.float32([1, 1, 2, 2])
look("Resize-10", larger[None, None], both(10, "Resize", MAP, {"s": scales}, mode="linear"))
given = {"r": np.float32([]), "s": scales}
corners = 1 + np.arange(4) / 3 + 2 * np.arange(4)[:, None] / 3
for rule, right in (("asymmetric", larger), ("align_corners", corners)):
    fields = {"mode": "linear", "coordinate_transformation_mode": rule}
    look(f"Resize-11 {rule}", right[None, None], both(11, "Resize", MAP, given, **fields))
negative = -np.ones((1, 2, 2, 2), np.float32)
for shape in ((2,), (2, 1, 1)):
    slopes = np.float32([2, 3]).reshape(shape)
    look(f"PRelu {shape}", slopes * negative, both(16, "PRelu", negative, {"s": slopes}))
edge = np.float32([[np.inf, -np.inf, 1]])
look("IsInf", edge == np.inf, both(17, "IsInf", edge, kind=TensorProto.BOOL, detect_negative=0))
PYTHON
"$folder/env/bin/python" -W ignore "$folder/look.py" 2> "$folder/log" | tee "$folder/out" || { cat "$folder/log"; exit 1; }
diff "$folder/out" - <<'SEEN'
Pad-2: onnx2torch 0 1 2 0 ONNX Runtime -7 1 2 -7
Pad-11: onnx2torch -7 1 2 -7 ONNX Runtime -7 1 2 -7
Resize-10: onnx2torch 1 1.25 1.75 2 ONNX Runtime 1 1.5 2 2
Resize-11 asymmetric: onnx2torch 1 1.25 1.75 2 ONNX Runtime 1 1.5 2 2
Resize-11 align_corners: onnx2torch 1 1.33333 1.66667 2 ONNX Runtime 1 1.33333 1.66667 2
PRelu (2,): onnx2torch -2 -2 ONNX Runtime -2 -3
PRelu (2, 1, 1): onnx2torch -2 -2 ONNX Runtime -2 -2
IsInf: onnx2torch 1 1 0 ONNX Runtime 1 0 0
SEEN
