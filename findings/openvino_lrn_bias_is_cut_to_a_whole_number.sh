#!/usr/bin/env bash
# OpenVINO 2026.4.1 reads the bias of an ONNX LRN (Caffe's k) and computes with its whole part: 0.5 counts as 0, 1.9 as 1.
# Nothing is said, and values are off by several times their size; ONNX Runtime 1.31.1 follows the definition.
# Nets with k = 1 or 2 never show it; `export --for openvino` writes k = 1 and a factor behind.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1 openvino==2026.4.1
cat > "$folder/lrn.py" <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper
from openvino import Core

x = np.random.default_rng(0).standard_normal((1, 6, 4, 5)).astype(np.float32)
squares = np.pad(x * x, ((0, 0), (1, 1), (0, 0), (0, 0)))
sums = squares[:, :-2] + squares[:, 1:-1] + squares[:, 2:]


def near(found, bias):
    return bool(np.allclose(found, x * (bias + 0.2 / 3 * sums) ** -0.75, rtol=1e-4, atol=1e-5))


for bias in (0.5, 1.9, 2.0):
    node = helper.make_node("LRN", ["x"], ["y"], size=3, alpha=0.2, beta=0.75, bias=bias)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name in ("x", "y")]
    graph = helper.make_graph([node], "lrn", ends[:1], ends[1:])
    text = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    core = Core()
    one = core.compile_model(core.read_model(text), "CPU")(x)[0]
    other = onnxruntime.InferenceSession(text, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    print(bias, "OpenVINO:", near(one, bias), "with the whole part:", near(one, int(bias)), "ORT:", near(other, bias))
PYTHON
"$folder/env/bin/python" "$folder/lrn.py" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
0.5 OpenVINO: False with the whole part: True ORT: True
1.9 OpenVINO: False with the whole part: True ORT: True
2.0 OpenVINO: True with the whole part: True ORT: True
SEEN
