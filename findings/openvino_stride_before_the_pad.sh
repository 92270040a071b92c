#!/usr/bin/env bash
# OpenVINO 2026.4.1 compiles an ONNX Conv of kernel 1 with a stride and a pad, behind a Relu, Tanh or Conv, to another
# size: it takes every second pixel of the bottom and pads then, where ONNX (Conv-11) and Caffe pad first. read_model
# still tells the right shape, the compiled model another. Nothing is said. Behind the input or a pooling it is right,
# so that a net cut down to the layer shows nothing. ONNX Runtime 1.31.1 follows the definition. `export --for openvino`
# writes such a layer with a kernel of 3 whose rim is 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1 openvino==2026.4.1
cat > "$folder/look.py" <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from openvino import Core

data = np.random.default_rng(0).random((1, 1, 6, 6)).astype(np.float32)
ONE = numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "one")
FIRST = {
    "the input": None,
    "Relu": helper.make_node("Relu", ["x"], ["a"]),
    "Conv": helper.make_node("Conv", ["x", "one"], ["a"]),
    "MaxPool": helper.make_node("MaxPool", ["x"], ["a"], kernel_shape=[1, 1]),
}
right = np.pad(data, ((0, 0), (0, 0), (1, 1), (1, 1)))[:, :, ::2, ::2]
for name, first in FIRST.items():
    last = helper.make_node("Conv", ["a" if first else "x", "one"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1])
    ends = [helper.make_tensor_value_info(*each) for each in (("x", TensorProto.FLOAT, data.shape),
                                                              ("y", TensorProto.FLOAT, right.shape))]
    graph = helper.make_graph([*([first] if first else []), last], "conv", ends[:1], ends[1:], [ONE])
    text = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    core = Core()
    read = core.read_model(text)
    one = core.compile_model(read, "CPU")(data)[0]
    other = onnxruntime.InferenceSession(text, providers=["CPUExecutionProvider"]).run(None, {"x": data})[0]
    assert np.allclose(other, right, atol=1e-6)
    print(f"behind {name}: {right.shape[2:]}, read {tuple(read.output(0).shape)[2:]}, computed {one.shape[2:]}")
PYTHON
"$folder/env/bin/python" "$folder/look.py" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
behind the input: (4, 4), read (4, 4), computed (4, 4)
behind Relu: (4, 4), read (4, 4), computed (5, 5)
behind Conv: (4, 4), read (4, 4), computed (5, 5)
behind MaxPool: (4, 4), read (4, 4), computed (4, 4)
SEEN
