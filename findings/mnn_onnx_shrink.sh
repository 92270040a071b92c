#!/usr/bin/env bash
# MNN 3.6.1 converts an ONNX Shrink (soft thresholding, with bias = lambd) and computes its negative half the wrong way
# round: values below -lambd become 0, and those between -lambd and 0, which should, get the bias added. Positive values
# are right. Neither the converter nor the session says anything; ONNX Runtime 1.31.1 follows the definition.
# `export` writes soft thresholding as Sign(x) * Relu(Abs(x) - threshold), which is right in both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    MNN==3.6.1 numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1
cat > "$folder/shrink.py" <<'PYTHON'
import sys

import _tools
import MNN
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

x = np.float32([[-2, -1, -0.3, 0, 0.3, 1, 2]])
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name in ("x", "y")]
node = helper.make_node("Shrink", ["x"], ["y"], lambd=0.5, bias=0.5)
graph = helper.make_graph([node], "shrink", ends[:1], ends[1:])
text = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
source, target, out = sys.argv[1:]
open(source, "wb").write(text)
_tools.mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", source, "--MNNModel", target, "--bizCode", "net"])
net = MNN.Interpreter(target)
session = net.createSession()
kind, order = MNN.Halide_Type_Float, MNN.Tensor_DimensionType_Caffe
net.getSessionInput(session).copyFrom(MNN.Tensor(x.shape, kind, x, order))
net.runSession(session)
host = MNN.Tensor(x.shape, kind, np.zeros(x.shape, np.float32), order)
net.getSessionOutput(session).copyToHostTensor(host)
right = onnxruntime.InferenceSession(text, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
with open(out, "w") as file:
    for name, values in (("MNN", np.array(host.getNumpyData())), ("ONNX Runtime", right)):
        print(name, *(f"{value + 0:g}" for value in np.asarray(values, np.float32).ravel()), file=file)
PYTHON
"$folder/env/bin/python" "$folder/shrink.py" "$folder/a.onnx" "$folder/a.mnn" "$folder/out" > "$folder/log" 2>&1 ||
    { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
MNN 0 0 0.2 0 0 0.5 1.5
ONNX Runtime -1.5 -0.5 0 0 0 0.5 1.5
SEEN
