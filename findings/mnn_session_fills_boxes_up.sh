#!/usr/bin/env bash
# MNN 3.6.1 gives the selection of an ONNX NonMaxSuppression two shapes: by its Module interface one row a selected box,
# as ONNX defines (NonMaxSuppression-11) and ONNX Runtime 1.31.1 does; by its Session interface, with the same file, one
# row a box there is, filled up with the box -1. A Gather behind it takes -1 for the last box, so that a box below
# score_threshold comes out as found, as often as rows are left. Nothing is said. `export --for mnn:onnx` refuses a
# DetectionOutput with confidence_threshold.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    MNN==3.6.1 numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1
cat > "$folder/look.py" <<'PYTHON'
import sys

import _tools
import MNN
import MNN.expr
import MNN.nn
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

folder = sys.argv[1]
out = open(f"{folder}/out", "w")
data = {
    "boxes": np.float32([[[0, 0, 1, 1], [2, 2, 3, 3], [4, 4, 5, 5], [6, 6, 7, 7]]]),
    "scores": np.float32([[[0.9, 0.5, 0.1, 0.2]]]),
}
FILES = [f"{folder}/net.{end}" for end in ("onnx", "mnn")]


def convert(threshold):
    """The file for MNN of a NonMaxSuppression with this score_threshold; the ONNX model beside it."""
    numbers = {"most": np.int64([9]), "overlap": np.float32([0.5]), "least": np.float32([threshold])}
    node = helper.make_node("NonMaxSuppression", [*data, *numbers], ["y"])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, each.shape) for name, each in data.items()]
    top = helper.make_tensor_value_info("y", TensorProto.INT64, ["count", 3])
    constants = [numpy_helper.from_array(each, name) for name, each in numbers.items()]
    graph = helper.make_graph([node], "nms", ends, [top], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    open(FILES[0], "wb").write(model.SerializeToString())
    _tools.mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", FILES[0], "--MNNModel", FILES[1], "--bizCode", "net"])


def runtime():
    return onnxruntime.InferenceSession(FILES[0], providers=["CPUExecutionProvider"]).run(None, data)[0]


def module():
    net = MNN.nn.load_module_from_file(FILES[1], list(data), ["y"])
    return net.forward([MNN.expr.const(each, list(each.shape), MNN.expr.NCHW) for each in data.values()])[0].read()


def session():
    net = MNN.Interpreter(FILES[1])
    handle = net.createSession()
    order = MNN.Tensor_DimensionType_Caffe
    for name, bottom in net.getSessionInputAll(handle).items():
        bottom.copyFrom(MNN.Tensor(data[name].shape, MNN.Halide_Type_Float, data[name], order))
    net.runSession(handle)
    top = net.getSessionOutput(handle, "y")
    host = MNN.Tensor(top.getShape(), MNN.Halide_Type_Int, np.zeros(top.getShape(), np.int32), order)
    top.copyToHostTensor(host)
    return np.array(host.getNumpyData()).reshape(top.getShape())


for threshold in (0.0, 0.3, 0.6):
    convert(threshold)
    for name, tool in (("ONNX Runtime", runtime), ("MNN Module", module), ("MNN Session", session)):
        print(f"score_threshold {threshold}, {name}: boxes", *np.asarray(tool())[:, 2], file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
score_threshold 0.0, ONNX Runtime: boxes 0 1 3 2
score_threshold 0.0, MNN Module: boxes 0 1 3 2
score_threshold 0.0, MNN Session: boxes 0 1 3 2
score_threshold 0.3, ONNX Runtime: boxes 0 1
score_threshold 0.3, MNN Module: boxes 0 1
score_threshold 0.3, MNN Session: boxes 0 1 -1 -1
score_threshold 0.6, ONNX Runtime: boxes 0
score_threshold 0.6, MNN Module: boxes 0
score_threshold 0.6, MNN Session: boxes 0 -1 -1 -1
SEEN
