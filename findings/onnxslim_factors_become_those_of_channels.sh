#!/usr/bin/env bash
# onnxslim 0.1.98 multiplies a constant behind a Conv or ConvTranspose into its filters and takes its values for one a
# channel, along whatever axis they lie: as many factors for rows, for columns (a plain vector of ONNX) or for images as
# there are channels are spread over the channels. A map as wide or as high as it has channels, behind which a window or
# a mask of one line stands, comes out wrong; the shape is right and nothing is said. Add is left as it is. Caffe's Scale
# has `axis`, and `export` writes what it says, so a net with such a Scale is not to be slimmed by it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1 onnxslim==0.1.98
cat > "$folder/look.py" <<'PYTHON'
import numpy as np
import onnxruntime
import onnxslim
from onnx import TensorProto, helper, numpy_helper

DATA = np.ones((3, 1, 3, 3), np.float32)
FACTORS = np.float32([1, 2, 3])


def run(model):
    text = model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(text, options, providers=["CPUExecutionProvider"]).run(None, {"x": DATA})[0]


def look(convolution, operator, *shape):
    """Maps of ones from three filters of 1, each by itself and after `operator` with 1, 2, 3 along one axis."""
    filters = np.ones((3, 1, 1, 1) if convolution == "Conv" else (1, 3, 1, 1), np.float32)
    factors = np.resize(FACTORS, np.prod(shape)).reshape(shape)
    nodes = [helper.make_node(convolution, ["x", "w"], ["c"]), helper.make_node(operator, ["c", "a"], ["y"])]
    shapes = {"x": DATA.shape, "y": (3, 3, 3, 3)}
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    kept = [numpy_helper.from_array(filters, "w"), numpy_helper.from_array(factors, "a")]
    graph = helper.make_graph(nodes, "two", ends[:1], ends[1:], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    sign = {"Mul": np.multiply, "Add": np.add}[operator]
    right = np.broadcast_to(sign(np.ones((3, 3, 3, 3), np.float32), factors), (3, 3, 3, 3))
    before, after = run(model), run(onnxslim.slim(model))
    assert np.array_equal(before, right)
    channels = np.broadcast_to(factors.reshape(1, 3, 1, 1), after.shape)
    told = "right" if np.array_equal(after, right) else "by channels" if np.array_equal(after, channels) else "wrong"
    print(convolution, operator, shape, told)


for convolution in ("Conv", "ConvTranspose"):
    for shape in ((1, 3, 1, 1), (3, 1, 1), (3,), (3, 1), (1, 1, 3, 1), (3, 1, 1, 1)):
        look(convolution, "Mul", *shape)
look("Conv", "Add", 3)
PYTHON
"$folder/env/bin/python" "$folder/look.py" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
Conv Mul (1, 3, 1, 1) right
Conv Mul (3, 1, 1) right
Conv Mul (3,) by channels
Conv Mul (3, 1) by channels
Conv Mul (1, 1, 3, 1) by channels
Conv Mul (3, 1, 1, 1) by channels
ConvTranspose Mul (1, 3, 1, 1) right
ConvTranspose Mul (3, 1, 1) right
ConvTranspose Mul (3,) by channels
ConvTranspose Mul (3, 1) by channels
ConvTranspose Mul (1, 1, 3, 1) by channels
ConvTranspose Mul (3, 1, 1, 1) by channels
Conv Add (3,) right
SEEN
