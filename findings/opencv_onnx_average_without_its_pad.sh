#!/usr/bin/env bash
# OpenCV 4.14.0 (opencv-python-headless 4.14.0.94) reads an ONNX AveragePool with pads and count_include_pad: 1 and
# divides by the pixels of the bottom alone: at the rim values are up to nine fourths of what they should be. Nothing is
# said. It is how Caffe's AVE pooling and PyTorch's AvgPool2d(padding=1) are written; of a Caffe net the same OpenCV
# computes the very layer right. Without count_include_pad, or with a Pad in front, it is right. ONNX Runtime 1.31.1
# follows the definition. `export` writes the Pad.
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
from onnx import TensorProto, helper, shape_inference

data = np.ones((1, 1, 5, 5), np.float32)
CAFFE = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 5 dim: 5 } } }
layer { name: "y" type: "Pooling" bottom: "data" top: "y" pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
"""


def model(version, node, data, constants=()):
    """The bytes of a model of one node that reads x, and constants if any, and makes y."""
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, data.shape), helper.make_empty_tensor_value_info("y")]
    graph = helper.make_graph([node], "one", ends[:1], ends[1:], list(constants))
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)
    return shape_inference.infer_shapes(whole).SerializeToString()


def opencv(net):
    net.setInput(data)
    return net.forward()


def show(name, top):
    print(f"{name}:", *(f"{value:.3f}" for value in top[0, 0, 0]))


show("OpenCV, Caffe", opencv(cv2.dnn.readNetFromCaffe(np.frombuffer(CAFFE.encode(), np.uint8))))
for counted in (0, 1):
    fields = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "count_include_pad": counted}
    text = model(17, helper.make_node("AveragePool", ["x"], ["y"], **fields), data)
    show(f"OpenCV, count_include_pad {counted}", opencv(cv2.dnn.readNetFromONNX(np.frombuffer(text, np.uint8))))
    session = onnxruntime.InferenceSession(text, providers=["CPUExecutionProvider"])
    show(f"ONNX Runtime, count_include_pad {counted}", session.run(None, {"x": data})[0])
PYTHON
"$folder/env/bin/python" "$folder/look.py" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
OpenCV, Caffe: 0.444 0.667 0.444
OpenCV, count_include_pad 0: 1.000 1.000 1.000
ONNX Runtime, count_include_pad 0: 1.000 1.000 1.000
OpenCV, count_include_pad 1: 1.000 1.000 1.000
ONNX Runtime, count_include_pad 1: 0.444 0.667 0.444
SEEN
