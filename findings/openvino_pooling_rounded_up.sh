#!/usr/bin/env bash
# OpenVINO 2026.4.1 and ONNX poolings whose size is rounded up (ceil_mode), the only kind that Caffe had for years: an
# AveragePool with count_include_pad divides a last window that reaches past the pad by the whole kernel, where Caffe's
# AVE (pooling_layer.cpp), PyTorch and ONNX Runtime 1.31.1 count what lies in bottom and pad. A MaxPool keeps a last
# window that begins in the pad and fills it with the lowest float, -3.4e38. ONNX drops it ("windows that would start in
# the right padded region are ignored", MaxPool-22), as Caffe and OpenVINO's own AveragePool do. Nothing is said.
# `export` pads and crops by operators of their own and pools with neither field.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1 openvino==2026.4.1
cat > "$folder/look.py" <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, shape_inference
from openvino import Core


def model(version, node, data, constants=()):
    """The bytes of a model of one node that reads x, and constants if any, and makes y."""
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, data.shape), helper.make_empty_tensor_value_info("y")]
    graph = helper.make_graph([node], "one", ends[:1], ends[1:], list(constants))
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)
    return shape_inference.infer_shapes(whole).SerializeToString()


def pool(operator, bottom, kernel, **fields):
    """The last column of a pooling of ones with stride 2 and pad 1: of OpenVINO, and of ONNX Runtime."""
    data = np.ones((1, 1, bottom, bottom), np.float32)
    sizes = {"kernel_shape": [kernel] * 2, "strides": [2, 2], "pads": [1] * 4}
    text = model(22, helper.make_node(operator, ["x"], ["y"], **sizes, **fields), data)
    core = Core()
    one = core.compile_model(core.read_model(text), "CPU")(data)[0]
    other = onnxruntime.InferenceSession(text, providers=["CPUExecutionProvider"]).run(None, {"x": data})[0]
    return " / ".join(" ".join(f"{value:.3g}" for value in top[0, 0, :, -1]) for top in (one, other))


print("AveragePool 3:", pool("AveragePool", 6, 3, count_include_pad=1))
print("AveragePool 3, ceil_mode:", pool("AveragePool", 6, 3, ceil_mode=1))
print("AveragePool 3, ceil_mode, count_include_pad:", pool("AveragePool", 6, 3, ceil_mode=1, count_include_pad=1))
print("AveragePool 2, ceil_mode:", pool("AveragePool", 5, 2, ceil_mode=1))
print("MaxPool 2, ceil_mode:", pool("MaxPool", 5, 2, ceil_mode=1))
PYTHON
"$folder/env/bin/python" "$folder/look.py" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
AveragePool 3: 0.667 1 1 / 0.667 1 1
AveragePool 3, ceil_mode: 1 1 1 1 / 1 1 1 1
AveragePool 3, ceil_mode, count_include_pad: 0.222 0.333 0.333 0.111 / 0.333 0.5 0.5 0.25
AveragePool 2, ceil_mode: 1 1 1 / 1 1 1
MaxPool 2, ceil_mode: -3.4e+38 -3.4e+38 -3.4e+38 -3.4e+38 / 1 1 1
SEEN
