#!/usr/bin/env bash
# onnxruntime 1.32.0: quantize_static of a Gemm with `beta` adds bias / beta where it should add bias * beta: the bias
# is quantised in steps that are beta times as large, then beta is set to 1. beta 2 makes a half of what it should
# double, in QDQ and QOperator alike; in QDQ without optimisations the bias is added once, whatever beta is. Only the
# bias is wrong, so a classifier goes on classifying, worse. Nothing is said. Exporters that write addmm, or fold a
# factor into beta, meet it; `export` writes a Gemm without beta.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
cat > "$folder/look.py" <<'PYTHON'
import logging
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

logging.disable(logging.WARNING)
onnxruntime.set_default_logger_severity(3)
LEVEL = onnxruntime.GraphOptimizationLevel
DATA = np.float32([[0, 0, 0], [1, 2, 4]])


class Data(CalibrationDataReader):
    def __init__(self):
        self.rest = [{"x": DATA}]

    def get_next(self):
        return self.rest.pop() if self.rest else None


def run(path, level=LEVEL.ORT_ENABLE_ALL):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return " ".join(f"{value:.1f}" for value in session.run(None, {"x": DATA})[0][0])


for beta in (1.0, 2.0, 5.0):
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, DATA.shape) for name in "xy"]
    kept = {"w": np.eye(3, dtype=np.float32), "b": np.float32([10, 20, 40])}
    kept = [numpy_helper.from_array(value, name) for name, value in kept.items()]
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], beta=beta)]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    whole, eight = f"{sys.argv[1]}/whole.onnx", f"{sys.argv[1]}/eight.onnx"
    onnx.save(model, whole)
    print("beta", beta, "of a bias of 10 20 40: float", run(whole))
    for style in (QuantFormat.QDQ, QuantFormat.QOperator):
        quantize_static(whole, eight, Data(), style)
        print(f"  {style.name}: {run(eight)}, not optimised {run(eight, LEVEL.ORT_DISABLE_ALL)}")
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
beta 1.0 of a bias of 10 20 40: float 10.0 20.0 40.0
  QDQ: 10.0 20.0 40.0, not optimised 10.0 20.0 40.0
  QOperator: 10.0 20.0 40.0, not optimised 10.0 20.0 40.0
beta 2.0 of a bias of 10 20 40: float 20.0 40.0 80.0
  QDQ: 4.9 9.9 20.1, not optimised 9.9 20.1 39.9
  QOperator: 4.9 9.9 20.1, not optimised 4.9 9.9 20.1
beta 5.0 of a bias of 10 20 40: float 50.0 100.0 200.0
  QDQ: 1.6 4.0 8.0, not optimised 9.6 20.0 40.0
  QOperator: 1.6 4.0 8.0, not optimised 1.6 4.0 8.0
SEEN
