#!/usr/bin/env bash
# ONNX Runtime 1.31.1 makes one MaxPool of a Pad with 0 and the MaxPool behind it, by its default optimisations. The 0s
# were values that may be the largest; as pads of the MaxPool they count as the lowest number (MaxPool-12), so at the rim
# of negative values other values come out. Where the MaxPool has pads of its own and ceil_mode the shape changes too:
# windows that began in the 0s are dropped. Nothing is said; without optimisations, and with -0.0 for 0, all is right,
# and so is 1.32.0. Behind a ReLU nothing shows; behind a BatchNorm or a convolution it does. `export` writes a Max that
# changes nothing between the two.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2
cat > "$folder/look.py" <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

DATA = -np.arange(1, 26, dtype=np.float32).reshape(1, 1, 5, 5)
LEVELS = onnxruntime.GraphOptimizationLevel


def run(value, level, **fields):
    """The last column of DATA padded by one `value` all around, then pooled by 3 at stride 2."""
    constants = {"pads": np.int64([0, 0, 1, 1, 0, 0, 1, 1]), "value": np.float32(value)}
    nodes = [
        helper.make_node("Pad", ["x", "pads", "value"], ["padded"]),
        helper.make_node("MaxPool", ["padded"], ["y"], kernel_shape=[3, 3], strides=[2, 2], **fields),
    ]
    shapes = {"x": DATA.shape, "y": [1, 1, None, None]}
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    kept = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "two", ends[:1], ends[1:], kept)
    text = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if level is not None:
        options.graph_optimization_level = level
    top = onnxruntime.InferenceSession(text, options, providers=["CPUExecutionProvider"]).run(None, {"x": DATA})[0]
    return " ".join(f"{number:g}" for number in top[0, 0, :, -1])


def plain(value, pads, size):
    """The same by plain loops: pads of the pooling are no values."""
    whole = np.pad(DATA[0, 0], 1, constant_values=value)
    whole = np.pad(whole, pads, constant_values=-np.inf)
    starts = range(0, size * 2, 2)
    return " ".join(f"{whole[row : row + 3, starts[-1] : starts[-1] + 3].max():g}" for row in starts)


for name, value in (("0", 0.0), ("-0.0", -0.0)):
    print(name, "|", run(value, None), "| not optimised", run(value, LEVELS.ORT_DISABLE_ALL))
    assert run(value, LEVELS.ORT_DISABLE_ALL) == plain(value, (0, 0), 3)
own = {"pads": [1] * 4, "ceil_mode": 1}
print("0, pads and ceil_mode |", run(0.0, None, **own), "| not optimised", run(0.0, LEVELS.ORT_DISABLE_ALL, **own))
assert run(0.0, LEVELS.ORT_DISABLE_ALL, **own) == plain(0.0, (1, 2), 4)
PYTHON
for version in 1.31.1 1.32.0; do
    "$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check "onnxruntime==$version"
    echo "ONNX Runtime $version"
    "$folder/env/bin/python" "$folder/look.py"
done | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
ONNX Runtime 1.31.1
0 | -4 -9 -19 | not optimised 0 0 0
-0.0 | -0 -0 -0 | not optimised -0 -0 -0
0, pads and ceil_mode | -5 -5 -15 -25 | not optimised 0 0 0 0
ONNX Runtime 1.32.0
0 | 0 0 0 | not optimised 0 0 0
-0.0 | -0 -0 -0 | not optimised -0 -0 -0
0, pads and ceil_mode | 0 0 0 0 | not optimised 0 0 0 0
SEEN
