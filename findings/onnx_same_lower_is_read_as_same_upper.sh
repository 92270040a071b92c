#!/usr/bin/env bash
# MNN 3.6.1 and OpenCV 4.14.0 read auto_pad "SAME_LOWER" of ONNX as "SAME_UPPER": where the pad of an axis is odd, its
# larger half goes behind instead of before, and the whole map comes out moved by one pixel. The shape is right, and
# nothing is said. Where the pad is even there is no difference. ONNX Runtime 1.31.1 follows the definition (Conv-11:
# "the extra padding is added ... at the beginning for SAME_LOWER"). `export` writes pads in numbers.
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
from onnx import TensorProto, helper, numpy_helper, shape_inference

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


FILTER = numpy_helper.from_array(np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3), "w")


def windows(before, after, fill):
    """All 3 x 3 windows of stride 2, of the data with these pads."""
    padded = np.pad(data, ((0, 0), (0, 0), (before, after), (before, after)), constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::2, ::2]


for kind in ("SAME_LOWER", "SAME_UPPER"):
    shape = {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": kind}
    for operator, constants in (("Conv", [FILTER]), ("MaxPool", [])):
        node = helper.make_node(operator, ["x", *(each.name for each in constants)], ["y"], **shape)
        text = model(17, node, data, constants)
        for name, tool in (("MNN", mnn), ("OpenCV", opencv), ("ONNX Runtime", runtime)):
            same = []
            for half, pads in (("before", (1, 0)), ("behind", (0, 1))):
                if operator == "Conv":
                    right = (windows(*pads, 0) * np.arange(1, 10).reshape(3, 3)).sum((-2, -1))
                else:
                    right = windows(*pads, -np.inf).max((-2, -1))
                same += [half] if np.allclose(tool(text), right, rtol=1e-4, atol=1e-4) else []
            print(f"{kind} {operator}, {name}: the pad lies", *same, file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
SAME_LOWER Conv, MNN: the pad lies behind
SAME_LOWER Conv, OpenCV: the pad lies behind
SAME_LOWER Conv, ONNX Runtime: the pad lies before
SAME_LOWER MaxPool, MNN: the pad lies behind
SAME_LOWER MaxPool, OpenCV: the pad lies behind
SAME_LOWER MaxPool, ONNX Runtime: the pad lies before
SAME_UPPER Conv, MNN: the pad lies behind
SAME_UPPER Conv, OpenCV: the pad lies behind
SAME_UPPER Conv, ONNX Runtime: the pad lies behind
SAME_UPPER MaxPool, MNN: the pad lies behind
SAME_UPPER MaxPool, OpenCV: the pad lies behind
SAME_UPPER MaxPool, ONNX Runtime: the pad lies behind
SEEN
