#!/usr/bin/env bash
# OpenCV 4.14.0 (opencv-python-headless 4.14.0.94) has no tensors of one axis: of an ONNX net a vector of n comes out,
# and counts inside, as a matrix of n x 1, a column. ONNX lets a vector broadcast along the last axis, as a row: so x -
# ReduceMean(x over axis 0) of a square matrix, which centres its columns, is computed as if it centred its rows, and
# the shape is right. Nothing is said. With kept axes (keepdims: 1) it is right; ONNX Runtime 1.31.1 follows the
# definition, and so does OpenCV 5.0.0. `export --for opencv:onnx` refuses layers that make vectors.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1 opencv-python-headless==4.14.0.94
cat > "$folder/look.py" <<'PYTHON'
import cv2
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

data = np.float32([[1, 2, 4], [1, 3, 8], [1, 4, 12]])


def show(what, shape, *nodes):
    ends = [helper.make_tensor_value_info(*each) for each in (("x", TensorProto.FLOAT, data.shape),
                                                              ("y", TensorProto.FLOAT, shape))]
    graph = helper.make_graph(nodes, "vector", ends[:1], ends[1:])
    text = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    net = cv2.dnn.readNetFromONNX(np.frombuffer(text, np.uint8))
    net.setInput(data, "x")
    session = onnxruntime.InferenceSession(text, providers=["CPUExecutionProvider"])
    for name, top in (("OpenCV", net.forward()), ("ONNX Runtime", session.run(None, {"x": data})[0])):
        print(f"{what}, {name}:", *top.shape, "values", *(f"{value:g}" for value in top.ravel()))


def mean(top, keep):
    return helper.make_node("ReduceMean", ["x"], [top], axes=[0], keepdims=keep)


difference = helper.make_node("Sub", ["x", "m"], ["y"])
show("mean", (3,), mean("y", 0))
show("x - mean", (3, 3), mean("m", 0), difference)
show("x - kept mean", (3, 3), mean("m", 1), difference)
PYTHON
"$folder/env/bin/python" "$folder/look.py" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
mean, OpenCV: 3 1 values 1 3 8
mean, ONNX Runtime: 3 values 1 3 8
x - mean, OpenCV: 3 3 values 0 1 3 -2 0 5 -7 -4 4
x - mean, ONNX Runtime: 3 3 values 0 -1 -4 0 0 0 0 1 4
x - kept mean, OpenCV: 3 3 values 0 -1 -4 0 0 0 0 1 4
x - kept mean, ONNX Runtime: 3 3 values 0 -1 -4 0 0 0 0 1 4
SEEN
