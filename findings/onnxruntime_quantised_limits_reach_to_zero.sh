#!/usr/bin/env bash
# onnxruntime 1.32.0: quantize_static leaves out a Relu or Clip behind a Conv or an Add and lets the range of
# the eight bits cut off. That range always has 0 in it, so a Clip from 1 to 2 lets 0 to 2 through, and a floor under a
# divisor is gone: 1 / max(x, 0.1) is infinite. And of a Relu that gave only 0 during calibration nothing is left with
# QInt8: the range is then 1 a step around 0, and what should be 0 comes out as -7 or -13. QDQ, the default, and
# QOperator alike; nothing is said. extra_options={"QDQKeepRemovableActivations": True} keeps both, in QDQ. `export`
# writes a Clip and dead filters as they are: quantise its models with that option.
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
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

logging.disable(logging.WARNING)
onnxruntime.set_default_logger_severity(3)
DATA = np.linspace(-3, 3, 13, dtype=np.float32).reshape(1, 1, 1, 13)
KEPT = {"QDQKeepRemovableActivations": True}


class Data(CalibrationDataReader):
    def __init__(self):
        self.rest = [{"x": DATA}]

    def get_next(self):
        return self.rest.pop() if self.rest else None


def run(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": DATA})[0]


def look(told, nodes, kept, style, kind, options):
    """Smallest and largest value of `y`, from a pointwise filter of 1, its bias `b` and `nodes`; then eight bits."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, DATA.shape) for name in "xy"]
    kept = {"w": [[[[1]]]], "b": [0], **kept}
    kept = [numpy_helper.from_array(np.float32(value), name) for name, value in kept.items()]
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c"]), *nodes]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    whole, eight = f"{sys.argv[1]}/whole.onnx", f"{sys.argv[1]}/eight.onnx"
    onnx.save(model, whole)
    quantize_static(
        whole, eight, Data(), style, activation_type=kind, weight_type=QuantType.QInt8, extra_options=options
    )
    ends = [f"{value.min():.1f}..{value.max():.1f}" for value in (run(whole), run(eight))]
    print(told, style.name, kind.name, "kept" if options else "default", "float", ends[0], "quantised", ends[1])


node = helper.make_node
CLIP = "clip 1 to 2", [node("Clip", ["c", "low", "high"], ["y"])], {"low": 1, "high": 2}
FLOOR = "1 / max(x, 0.1)", [node("Clip", ["c", "low"], ["d"]), node("Reciprocal", ["d"], ["y"])], {"low": 0.1}
DEAD = "dead relu", [node("Relu", ["c"], ["y"])], {"b": [-10]}
for case in (CLIP, FLOOR, DEAD):
    for kind in (QuantType.QUInt8, QuantType.QInt8):
        for style, options in ((QuantFormat.QOperator, {}), (QuantFormat.QDQ, {}), (QuantFormat.QDQ, KEPT)):
            look(*case, style, kind, options)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
clip 1 to 2 QOperator QUInt8 default float 1.0..2.0 quantised 0.0..2.0
clip 1 to 2 QDQ QUInt8 default float 1.0..2.0 quantised 0.0..2.0
clip 1 to 2 QDQ QUInt8 kept float 1.0..2.0 quantised 1.0..2.0
clip 1 to 2 QOperator QInt8 default float 1.0..2.0 quantised 0.0..2.0
clip 1 to 2 QDQ QInt8 default float 1.0..2.0 quantised 0.0..2.0
clip 1 to 2 QDQ QInt8 kept float 1.0..2.0 quantised 1.0..2.0
1 / max(x, 0.1) QOperator QUInt8 default float 0.3..10.0 quantised 0.3..inf
1 / max(x, 0.1) QDQ QUInt8 default float 0.3..10.0 quantised 0.3..inf
1 / max(x, 0.1) QDQ QUInt8 kept float 0.3..10.0 quantised 0.3..10.6
1 / max(x, 0.1) QOperator QInt8 default float 0.3..10.0 quantised 0.3..inf
1 / max(x, 0.1) QDQ QInt8 default float 0.3..10.0 quantised 0.3..inf
1 / max(x, 0.1) QDQ QInt8 kept float 0.3..10.0 quantised 0.3..10.6
dead relu QOperator QUInt8 default float 0.0..0.0 quantised 0.0..0.0
dead relu QDQ QUInt8 default float 0.0..0.0 quantised 0.0..0.0
dead relu QDQ QUInt8 kept float 0.0..0.0 quantised 0.0..0.0
dead relu QOperator QInt8 default float 0.0..0.0 quantised -13.0..-7.0
dead relu QDQ QInt8 default float 0.0..0.0 quantised -13.0..-7.0
dead relu QDQ QInt8 kept float 0.0..0.0 quantised 0.0..0.0
SEEN
