#!/usr/bin/env bash
# The Softmax of an ONNX model of operator set 1 to 12 normalises over all axes from `axis` on, together; from 13 on
# over that one axis (ONNX operators, Softmax-11 and -13). onnx.reference 1.23.2 (of ONNX itself), OpenCV 4.14.0 and
# OpenVINO 2026.4.1 compute the old ones by the new rule: axis 1 of an image gives one distribution a pixel instead of
# one an image. OpenVINO does so for 11 and 12 and has 9 right; ONNX Runtime 1.31.1 has all. Nothing is said; a bottom
# of two axes shows nothing. Caffe's Softmax is the new rule; `export` writes operator set 17.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1 opencv-python-headless==4.14.0.94 openvino==2026.4.1
cat > "$folder/look.py" <<'PYTHON'
import cv2
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, load_from_string, shape_inference
from onnx.reference import ReferenceEvaluator
from openvino import Core

data = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)


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


def openvino(text):
    core = Core()
    return core.compile_model(core.read_model(text), "CPU")(data)[0]


def runtime(text):
    return onnxruntime.InferenceSession(text, providers=["CPUExecutionProvider"]).run(None, {"x": data})[0]


def softmax(axes):
    grown = np.exp(data - data.max(axes, keepdims=True))
    return grown / grown.sum(axes, keepdims=True)


TOOLS = {
    "ONNX Runtime": runtime,
    "onnx.reference": lambda text: ReferenceEvaluator(load_from_string(text)).run(None, {"x": data})[0],
    "OpenCV": opencv,
    "OpenVINO": openvino,
}
for version in (9, 11, 12, 13):
    text = model(version, helper.make_node("Softmax", ["x"], ["y"], axis=1), data)
    for name, tool in TOOLS.items():
        top = tool(text)
        rules = {"all axes from 1 on": softmax((1, 2, 3)), "axis 1": softmax((1,))}
        print(version, name, *(rule for rule, right in rules.items() if np.allclose(top, right, atol=1e-6)))
PYTHON
"$folder/env/bin/python" "$folder/look.py" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
9 ONNX Runtime all axes from 1 on
9 onnx.reference axis 1
9 OpenCV axis 1
9 OpenVINO all axes from 1 on
11 ONNX Runtime all axes from 1 on
11 onnx.reference axis 1
11 OpenCV axis 1
11 OpenVINO axis 1
12 ONNX Runtime all axes from 1 on
12 onnx.reference axis 1
12 OpenCV axis 1
12 OpenVINO axis 1
13 ONNX Runtime axis 1
13 onnx.reference axis 1
13 OpenCV axis 1
13 OpenVINO axis 1
SEEN
