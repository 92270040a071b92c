#!/usr/bin/env bash
# onnxruntime 1.32.0: quantize_static with QuantFormat.QOperator leaves out a Relu or Clip behind a Conv or an Add even
# where a second layer reads the value before it, with that value's own range: the Relu is gone, and relu(x) + x comes
# out as 2 x. Nothing is said. QDQ, the default, keeps the Relu there. Nets whose ReLU is not in place, with a second
# reader of its bottom, are such, residual nets with the activation first among them. Quantise them, and what `export`
# writes of them, in QDQ.
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
DATA = np.linspace(-3, 3, 7, dtype=np.float32).reshape(1, 1, 1, 7)


class Data(CalibrationDataReader):
    def __init__(self):
        self.rest = [{"x": DATA}]

    def get_next(self):
        return self.rest.pop() if self.rest else None


def run(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": DATA})[0].ravel().round(1) + 0.0


def look(first, activation, readers):
    """`activation` of x times 1 (a Conv) or plus 0 (an Add), and where there are two readers x itself added to it."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, DATA.shape) for name in "xy"]
    kept = {"w": [[[[1]]]] if first == "Conv" else 0, "low": 0, "high": 2}
    kept = [numpy_helper.from_array(np.float32(value), name) for name, value in kept.items()]
    limits = ["low", "high"] if activation == "Clip" else []
    nodes = [helper.make_node(first, ["x", "w"], ["c"]), helper.make_node(activation, ["c", *limits], ["r"])]
    nodes += [helper.make_node("Add", ["r", "c" if readers == 2 else "r"], ["y"])]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    whole, eight = f"{sys.argv[1]}/whole.onnx", f"{sys.argv[1]}/eight.onnx"
    onnx.save(model, whole)
    print(first, activation, "and", ["itself", "its bottom"][readers - 1])
    print("  float    ", *run(whole))
    for style in (QuantFormat.QDQ, QuantFormat.QOperator):
        quantize_static(whole, eight, Data(), style)
        print(f"  {style.name:9}", *run(eight))


for first in ("Conv", "Add"):
    for activation in ("Relu", "Clip"):
        for readers in (1, 2):
            look(first, activation, readers)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
Conv Relu and itself
  float     0.0 0.0 0.0 0.0 2.0 4.0 6.0
  QDQ       0.0 0.0 0.0 0.0 2.0 4.0 6.0
  QOperator 0.0 0.0 0.0 0.0 2.0 4.0 6.0
Conv Relu and its bottom
  float     -3.0 -2.0 -1.0 0.0 2.0 4.0 6.0
  QDQ       -3.0 -2.0 -1.0 0.0 2.0 4.0 6.0
  QOperator -3.0 -3.0 -2.0 0.0 2.0 4.0 6.0
Conv Clip and itself
  float     0.0 0.0 0.0 0.0 2.0 4.0 4.0
  QDQ       0.0 0.0 0.0 0.0 2.0 4.0 4.0
  QOperator 0.0 0.0 0.0 0.0 2.0 4.0 4.0
Conv Clip and its bottom
  float     -3.0 -2.0 -1.0 0.0 2.0 4.0 5.0
  QDQ       -3.0 -2.0 -1.0 0.0 2.0 4.0 5.0
  QOperator -3.0 -3.0 -2.0 0.0 2.0 4.0 5.0
Add Relu and itself
  float     0.0 0.0 0.0 0.0 2.0 4.0 6.0
  QDQ       0.0 0.0 0.0 0.0 2.0 4.0 6.0
  QOperator 0.0 0.0 0.0 0.0 2.0 4.0 6.0
Add Relu and its bottom
  float     -3.0 -2.0 -1.0 0.0 2.0 4.0 6.0
  QDQ       -3.0 -2.0 -1.0 0.0 2.0 4.0 6.0
  QOperator -3.0 -3.0 -2.0 0.0 2.0 4.0 6.0
Add Clip and itself
  float     0.0 0.0 0.0 0.0 2.0 4.0 4.0
  QDQ       0.0 0.0 0.0 0.0 2.0 4.0 4.0
  QOperator 0.0 0.0 0.0 0.0 2.0 4.0 4.0
Add Clip and its bottom
  float     -3.0 -2.0 -1.0 0.0 2.0 4.0 5.0
  QDQ       -3.0 -2.0 -1.0 0.0 2.0 4.0 5.0
  QOperator -3.0 -3.0 -2.0 0.0 2.0 4.0 5.0
SEEN
