#!/usr/bin/env bash
# onnx 1.23.2: its version_converter takes a PRelu of operator set 6 or less up to 7 or later and leaves the slopes as
# they are, a vector. Up to 6 that is a slope a channel (PRelu-6); from 7 on it broadcasts along the last axis, so that
# the slopes lie along the columns. Where a map is as wide as it has channels, other values come out, in the right shape
# and without a word; elsewhere ONNX Runtime stops. The checker takes the models before and after. Caffe's PReLU is a
# slope a channel, and `export` writes operator set 17 and slopes of shape channels x 1 x 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1
cat > "$folder/look.py" <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper, version_converter

SLOPES = np.float32([1, 2, 3])


def one(shape):
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "slope", "y")]
    ends[1] = helper.make_tensor_value_info("slope", TensorProto.FLOAT, SLOPES.shape)
    node = helper.make_node("PRelu", ["x", "slope"], ["y"])
    graph = helper.make_graph([node], "one", ends[:2], ends[2:], [numpy_helper.from_array(SLOPES, "slope")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 6)], ir_version=3)


for shape in ((1, 3, 3, 3), (1, 3, 2, 2)):
    model = one(shape)
    checker.check_model(model, full_check=True)
    data = np.full(shape, -1, np.float32)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    for target in (7, 9, 17):
        after = version_converter.convert_version(model, target)
        checker.check_model(after)
        assert [node.op_type for node in after.graph.node] == ["PRelu"]
        try:
            session = onnxruntime.InferenceSession(after.SerializeToString(), options, ["CPUExecutionProvider"])
            top = session.run(None, {"x": data})[0]
        except Exception:
            print(shape, "6 to", target, "stops")
            continue
        rules = {"by channels": SLOPES[:, None, None], "by columns": SLOPES}
        told = [rule for rule, slopes in rules.items() if np.array_equal(top, data * slopes)]
        print(shape, "6 to", target, *told)
PYTHON
"$folder/env/bin/python" "$folder/look.py" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
(1, 3, 3, 3) 6 to 7 by columns
(1, 3, 3, 3) 6 to 9 by columns
(1, 3, 3, 3) 6 to 17 by columns
(1, 3, 2, 2) 6 to 7 stops
(1, 3, 2, 2) 6 to 9 stops
(1, 3, 2, 2) 6 to 17 stops
SEEN
