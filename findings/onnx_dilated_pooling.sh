#!/usr/bin/env bash
# MNN 3.6.1 and OpenCV 4.14.0 read an ONNX MaxPool and leave its `dilations` out: windows of neighbours are taken, and
# the top is larger by what the gaps would have cost. Nothing is said. ONNX has them since operator set 10, and
# PyTorch's MaxPool2d(dilation=2) writes them; nets for segmentation have them where a classifier's stride was taken
# out. ONNX Runtime 1.31.1 follows the definition. Caffe has no dilated pooling, and `export` writes none.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    MNN==3.6.1 numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1 opencv-python-headless==4.14.0.94
cat > "$folder/look.py" <<'PYTHON'
import sys

import _tools
import cv2
import MNN
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, shape_inference

folder = sys.argv[1]
out = open(f"{folder}/out", "w")
data = np.random.default_rng(0).standard_normal((1, 1, 6, 8)).astype(np.float32)


def model(version, node, data, constants=()):
    """The bytes of a model of one node that reads x, and constants if any, and makes y."""
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, data.shape), helper.make_empty_tensor_value_info("y")]
    graph = helper.make_graph([node], "one", ends[:1], ends[1:], list(constants))
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)
    return shape_inference.infer_shapes(whole).SerializeToString()


def mnn(text):
    """What MNN makes of the model: its only output."""
    files = [f"{folder}/net.{end}" for end in ("onnx", "mnn")]
    open(files[0], "wb").write(text)
    _tools.mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", files[0], "--MNNModel", files[1], "--bizCode", "net"])
    net = MNN.Interpreter(files[1])
    session = net.createSession()
    kind, order = MNN.Halide_Type_Float, MNN.Tensor_DimensionType_Caffe
    net.getSessionInput(session).copyFrom(MNN.Tensor(data.shape, kind, data, order))
    net.runSession(session)
    top = net.getSessionOutput(session)
    host = MNN.Tensor(top.getShape(), kind, np.zeros(top.getShape(), np.float32), order)
    top.copyToHostTensor(host)
    return np.array(host.getNumpyData(), np.float32).reshape(top.getShape())


def opencv(text):
    net = cv2.dnn.readNetFromONNX(np.frombuffer(text, np.uint8))
    net.setInput(data, "x")
    return net.forward()


def runtime(text):
    return onnxruntime.InferenceSession(text, providers=["CPUExecutionProvider"]).run(None, {"x": data})[0]


def pool(gap):
    """MAX pooling of windows of 2 x 2 with stride 1, whose pixels are `gap` apart."""
    return np.max([data[:, :, y : y + 6 - gap, x : x + 8 - gap] for y in (0, gap) for x in (0, gap)], 0)


shape = {"kernel_shape": [2, 2], "strides": [1, 1], "dilations": [2, 2]}
text = model(17, helper.make_node("MaxPool", ["x"], ["y"], **shape), data)
for name, tool in (("MNN", mnn), ("OpenCV", opencv), ("ONNX Runtime", runtime)):
    top = tool(text)
    rules = {"as defined": pool(2), "without dilations": pool(1)}
    same = [rule for rule, right in rules.items() if right.shape == top.shape and np.array_equal(right, top)]
    print(name, top.shape[2:], *same, file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
MNN (5, 7) without dilations
OpenCV (5, 7) without dilations
ONNX Runtime (4, 6) as defined
SEEN
