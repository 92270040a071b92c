#!/usr/bin/env bash
# tract 0.23.9 leaves a factor out of two ONNX operators: Celu is alpha * (exp(x / alpha) - 1) below 0 (Celu-12) and
# comes out without the alpha in front; GlobalLpPool is the p-norm of a map (GlobalLpPool-2) and comes out as the mean
# of that kind, by the p-th root of the number of pixels too small. Nothing is said, and the defaults of Celu (1) and
# maps of one pixel show nothing. Elu, with its alpha, is right. ONNX Runtime 1.31.1 follows the definitions. `export`
# writes neither operator.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1 tract==0.23.9
cat > "$folder/look.py" <<'PYTHON'
import sys

import numpy as np
import onnxruntime
import tract
from onnx import TensorProto, helper, shape_inference

FILE = sys.argv[0] + ".onnx"


def model(version, node, data, constants=()):
    """The bytes of a model of one node that reads x, and constants if any, and makes y."""
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, data.shape), helper.make_empty_tensor_value_info("y")]
    graph = helper.make_graph([node], "one", ends[:1], ends[1:], list(constants))
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)
    return shape_inference.infer_shapes(whole).SerializeToString()


def both(operator, data, **fields):
    text = model(17, helper.make_node(operator, ["x"], ["y"], **fields), data)
    open(FILE, "wb").write(text)
    one = tract.onnx().load(FILE).into_model().into_runnable().run([data])[0].to_numpy()
    other = onnxruntime.InferenceSession(text, providers=["CPUExecutionProvider"]).run(None, {"x": data})[0]
    words = [" ".join(f"{value:.3f}" for value in np.ravel(each)) for each in (one, other)]
    print(operator, fields, "tract", words[0], "ONNX Runtime", words[1])
    return other


line = np.float32([[-2, -1, 0, 1]])
for alpha in (1.0, 2.0):
    assert np.allclose(both("Elu", line, alpha=alpha), np.where(line > 0, line, alpha * np.expm1(line)))
    assert np.allclose(both("Celu", line, alpha=alpha), np.where(line > 0, line, alpha * np.expm1(line / alpha)))
square = np.float32([1, 2, 3, 4]).reshape(1, 1, 2, 2)
for p in (1, 2):
    assert np.allclose(both("GlobalLpPool", square, p=p), (square**p).sum() ** (1 / p))
PYTHON
"$folder/env/bin/python" "$folder/look.py" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
Elu {'alpha': 1.0} tract -0.865 -0.632 0.000 1.000 ONNX Runtime -0.865 -0.632 0.000 1.000
Celu {'alpha': 1.0} tract -0.865 -0.632 0.000 1.000 ONNX Runtime -0.865 -0.632 0.000 1.000
Elu {'alpha': 2.0} tract -1.729 -1.264 0.000 1.000 ONNX Runtime -1.729 -1.264 0.000 1.000
Celu {'alpha': 2.0} tract -0.632 -0.393 0.000 1.000 ONNX Runtime -1.264 -0.787 0.000 1.000
GlobalLpPool {'p': 1} tract 2.500 ONNX Runtime 10.000
GlobalLpPool {'p': 2} tract 2.739 ONNX Runtime 5.477
SEEN
