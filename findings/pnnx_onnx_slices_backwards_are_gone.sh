#!/usr/bin/env bash
# pnnx 20261020, the converter of ncnn, reads an ONNX Slice with a negative step, which turns an axis round, and leaves
# it out: the bottom comes out as it is. Of a PRelu whose slopes lie along the columns (ONNX lets a vector broadcast
# along the last axis) it makes one slope a channel. And a MaxPool whose pads differ in front and behind, with some in
# front, is padded, then padded again by those in front, and rounded up: other windows, and more of them. All three are
# so in the net for ncnn and in the one for PyTorch that pnnx writes beside it. Nothing is said. ONNX Runtime 1.31.1
# follows the definitions. A Caffe MAX pooling with a pad whose last window reaches past it is such a MaxPool when
# written as ONNX, by `export` too; one without pad, as in AlexNet and GoogLeNet, is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    ncnn==1.0.20261020 numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1 pnnx==20261020 torch==2.13.0
cat > "$folder/look.py" <<'PYTHON'
import os
import subprocess
import sys

import ncnn
import numpy as np
import onnxruntime
import pnnx
from onnx import TensorProto, helper, numpy_helper

DATA = np.float32([-1, 2, -3, 4]).reshape(1, 2, 1, 2)
PNNX = os.path.join(os.path.dirname(pnnx.__file__), "pnnx")


def look(name, node, data, **constants):
    """The top of one node behind a convolution that passes its bottom on: of ncnn, of ONNX Runtime."""
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, data.shape)]
    ends.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, None, None]))
    constants["one"] = np.eye(2, dtype=np.float32).reshape(2, 2, 1, 1)
    nodes = [helper.make_node("Conv", ["x", "one"], ["c"]), node]
    kept = [numpy_helper.from_array(array, each) for each, array in constants.items()]
    graph = helper.make_graph(nodes, "two", ends[:1], ends[1:], kept)
    text = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    with open("net.onnx", "wb") as file:
        file.write(text)
    shape = ",".join(map(str, data.shape))
    done = subprocess.run([PNNX, "net.onnx", f"inputshape=[{shape}]", "fp16=0"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.load_param("net.ncnn.param")
    net.load_model("net.ncnn.bin")
    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(data[0]).clone())
    by_ncnn = np.array(extractor.extract("out0")[1])
    right = onnxruntime.InferenceSession(text, providers=["CPUExecutionProvider"]).run(None, {"x": data})[0][0]
    words = [" / ".join(" ".join(f"{value:.3g}" for value in np.ravel(row)) for row in top) for top in (by_ncnn, right)]
    print(f"{name}: ncnn {words[0]} | ONNX Runtime {words[1]}")
    return right


os.chdir(sys.argv[1])
places = {name: np.int64([value]) for name, value in {"a": -1, "b": -9, "c": 3, "d": -1}.items()}
top = look("Slice", helper.make_node("Slice", ["c", "a", "b", "axis", "d"], ["y"]), DATA,
           a=places["a"], b=places["b"], axis=places["c"], d=places["d"])  # fmt: skip
assert np.array_equal(top, DATA[0, :, :, ::-1])
slopes = np.float32([10, 100])
top = look("PRelu", helper.make_node("PRelu", ["c", "slopes"], ["y"]), DATA, slopes=slopes)
assert np.array_equal(top, np.where(DATA > 0, DATA, DATA * slopes)[0])
line = np.arange(8, dtype=np.float32).reshape(1, 2, 1, 4)
for pads in ([0, 1, 0, 1], [0, 0, 0, 2], [0, 1, 0, 0], [0, 1, 0, 3]):
    fields = {"kernel_shape": [1, 4], "strides": [1, 2], "pads": pads}
    top = look(f"MaxPool {pads}", helper.make_node("MaxPool", ["c"], ["y"], **fields), line)
    wide = np.pad(line[0], [(0, 0), (0, 0), (pads[1], pads[3])], constant_values=-np.inf)
    assert np.array_equal(top, np.lib.stride_tricks.sliding_window_view(wide, 4, axis=-1)[..., ::2, :].max(-1))
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
Slice: ncnn -1 2 / -3 4 | ONNX Runtime 2 -1 / 4 -3
PRelu: ncnn -10 2 / -300 4 | ONNX Runtime -10 2 / -30 4
MaxPool [0, 1, 0, 1]: ncnn 2 3 / 6 7 | ONNX Runtime 2 3 / 6 7
MaxPool [0, 0, 0, 2]: ncnn 3 3 / 7 7 | ONNX Runtime 3 3 / 7 7
MaxPool [0, 1, 0, 0]: ncnn 1 3 3 / 5 7 7 | ONNX Runtime 2 / 6
MaxPool [0, 1, 0, 3]: ncnn 1 3 3 -3.4e+38 / 5 7 7 -3.4e+38 | ONNX Runtime 2 3 3 / 6 7 7
SEEN
