#!/usr/bin/env bash
# An ONNX ConvTranspose with output_shape, which says the size and leaves the pads to the reader (ConvTranspose-11: of
# an odd pad the larger half is cut off in front), comes out in three ways: ONNX Runtime 1.31.1 and OpenVINO 2026.4.1 as
# defined; tract 0.23.9 cuts the larger half off behind, and the map is moved by a pixel; OpenCV 4.14.0 gives another
# size. Nothing is said. TensorFlow's Conv2DTranspose comes so. Caffe's Deconvolution has pads, and `export` writes them
# as numbers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1 \
    opencv-python-headless==4.14.0.94 openvino==2026.4.1 tract==0.23.9
cat > "$folder/look.py" <<'PYTHON'
import sys

import cv2
import numpy as np
import onnxruntime
import tract
from onnx import TensorProto, helper, numpy_helper, shape_inference
from openvino import Core

folder = sys.argv[1]
out = open(f"{folder}/out", "w")
data = np.float32([[1, 2], [3, 4]]).reshape(1, 1, 2, 2)
FILTER = numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32), "w")


def model(version, node, data, constants=()):
    """The bytes of a model of one node that reads x, and constants if any, and makes y."""
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, data.shape), helper.make_empty_tensor_value_info("y")]
    graph = helper.make_graph([node], "one", ends[:1], ends[1:], list(constants))
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)
    return shape_inference.infer_shapes(whole).SerializeToString()


def opencv(text):
    net = cv2.dnn.readNetFromONNX(np.frombuffer(text, np.uint8))
    net.setInput(data, "x")
    return net.forward()


def runtime(text):
    return onnxruntime.InferenceSession(text, providers=["CPUExecutionProvider"]).run(None, {"x": data})[0]


def openvino(text):
    core = Core()
    return core.compile_model(core.read_model(text), "CPU")(data)[0]


def sonos(text):
    open(f"{folder}/t.onnx", "wb").write(text)
    return tract.onnx().load(f"{folder}/t.onnx").into_model().into_runnable().run([data])[0].to_numpy()


whole = np.zeros((1, 1, 5, 5), np.float32)
for y in range(2):
    for x in range(2):
        whole[0, 0, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3] += data[0, 0, y, x]
TOOLS = {"ONNX Runtime": runtime, "OpenVINO": openvino, "tract": sonos, "OpenCV": opencv}
CUTS = {"cut in front": whole[:, :, 1:, 1:], "cut behind": whole[:, :, :4, :4]}
for size, cuts in ((5, {"whole": whole}), (4, CUTS)):
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], output_shape=[size, size])
    text = model(11, node, data, [FILTER])
    for name, tool in TOOLS.items():
        top = tool(text)
        same = [each for each, right in cuts.items() if right.shape == top.shape and np.allclose(right, top)]
        print(f"{size} x {size}, {name}: {' x '.join(map(str, top.shape[2:]))}", *same, file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
5 x 5, ONNX Runtime: 5 x 5 whole
5 x 5, OpenVINO: 5 x 5 whole
5 x 5, tract: 5 x 5 whole
5 x 5, OpenCV: 5 x 5 whole
4 x 4, ONNX Runtime: 4 x 4 cut in front
4 x 4, OpenVINO: 4 x 4 cut in front
4 x 4, tract: 4 x 4 cut behind
4 x 4, OpenCV: 5 x 5
SEEN
