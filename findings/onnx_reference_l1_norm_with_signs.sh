#!/usr/bin/env bash
# onnx 1.23.2: the LpNormalization of its reference evaluator with p = 1 divides by the sum of the values with their
# signs, not of their sizes: 1 -2 3 becomes 0.5 -1 1.5, and what sums up to 0 becomes infinite. p = 2, the default, is
# right. ONNX (LpNormalization-22: "the p-norm") and ONNX Runtime 1.31.1 take the sizes. Values behind a ReLU show
# nothing. Of filters, whose L1 norm pruning ranks by, about half the values are negative.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1
cat > "$folder/look.py" <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, load_from_string, shape_inference
from onnx.reference import ReferenceEvaluator


def model(version, node, data, constants=()):
    """The bytes of a model of one node that reads x, and constants if any, and makes y."""
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, data.shape), helper.make_empty_tensor_value_info("y")]
    graph = helper.make_graph([node], "one", ends[:1], ends[1:], list(constants))
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)
    return shape_inference.infer_shapes(whole).SerializeToString()


for values in ([1, 2, 3], [1, -2, 3]):
    for p in (1, 2):
        data = np.float32([values])
        text = model(22, helper.make_node("LpNormalization", ["x"], ["y"], axis=1, p=p), data)
        one = ReferenceEvaluator(load_from_string(text)).run(None, {"x": data})[0]
        other = onnxruntime.InferenceSession(text, providers=["CPUExecutionProvider"]).run(None, {"x": data})[0]
        assert np.allclose(other, data / (np.abs(data) ** p).sum() ** (1 / p))
        print(values, f"p {p}, onnx.reference:", *(f"{value:.3f}" for value in one[0]), end=", ")
        print("ONNX Runtime:", *(f"{value:.3f}" for value in other[0]))
PYTHON
"$folder/env/bin/python" "$folder/look.py" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
[1, 2, 3] p 1, onnx.reference: 0.167 0.333 0.500, ONNX Runtime: 0.167 0.333 0.500
[1, 2, 3] p 2, onnx.reference: 0.267 0.535 0.802, ONNX Runtime: 0.267 0.535 0.802
[1, -2, 3] p 1, onnx.reference: 0.500 -1.000 1.500, ONNX Runtime: 0.167 -0.333 0.500
[1, -2, 3] p 2, onnx.reference: 0.267 -0.535 0.802, ONNX Runtime: 0.267 -0.535 0.802
SEEN
