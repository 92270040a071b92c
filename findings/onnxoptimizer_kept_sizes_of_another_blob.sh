#!/usr/bin/env bash
# onnxoptimizer 0.4.2: its default passes leave out the first of two Reshapes. A 0 in the shape of the second keeps the
# size of its bottom's axis (Reshape-14), and its bottom is now another: 2 films of 12 pictures, made a batch of 24 by
# (-1, c, h, w) and then rows by (0, -1), come out as 2 rows, one a film; (0, 0) leaves a matrix as it was. Nothing is
# said; where all sizes but the kept one are numbers that do not fit, the runtime refuses the model. The pass is
# eliminate_consecutive_idempotent_ops. `export` writes two Reshapes for two such Caffe layers, with numbers behind the
# first place, so that a net that went through the pass stops rather than give other values.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxoptimizer==0.4.2 onnxruntime==1.31.1
cat > "$folder/look.py" <<'PYTHON'
import numpy as np
import onnxoptimizer
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def run(model, data):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run(None, {"x": data})[0]


def look(shape, first, second):
    """The shape of a blob reshaped twice, by plain rules and by ONNX Runtime before and after."""
    data = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    middle = data.reshape(first)
    right = middle.reshape([middle.shape[axis] if size == 0 else size for axis, size in enumerate(second)])
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    ends.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * len(second)))
    kept = [numpy_helper.from_array(np.int64(each), name) for name, each in (("first", first), ("second", second))]
    nodes = [helper.make_node("Reshape", ["x", "first"], ["m"]), helper.make_node("Reshape", ["m", "second"], ["y"])]
    graph = helper.make_graph(nodes, "two", ends[:1], ends[1:], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert np.array_equal(run(model, data), right)
    after = onnxoptimizer.optimize(model)
    try:
        top = run(after, data)
        told = "right" if np.array_equal(top, right) else f"{top.shape} for {right.shape}"
    except Exception:
        told = f"stops for {right.shape}"
    print(shape, "by", first, "and", second, "|", len(after.graph.node), "node", told)


look((2, 12, 3, 4, 4), (-1, 3, 4, 4), (0, -1))
look((8, 6), (6, 8), (0, 0))
look((2, 3, 8), (2, 2, 3, 4), (0, 0, -1))
look((2, 3, 8), (4, 12), (0, 3, 4))
look((2, 3, 8), (2, 24), (0, 6, 4))
PYTHON
"$folder/env/bin/python" "$folder/look.py" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
(2, 12, 3, 4, 4) by (-1, 3, 4, 4) and (0, -1) | 1 node (2, 576) for (24, 48)
(8, 6) by (6, 8) and (0, 0) | 1 node (8, 6) for (6, 8)
(2, 3, 8) by (2, 2, 3, 4) and (0, 0, -1) | 1 node (2, 3, 8) for (2, 2, 12)
(2, 3, 8) by (4, 12) and (0, 3, 4) | 1 node stops for (4, 3, 4)
(2, 3, 8) by (2, 24) and (0, 6, 4) | 1 node right
SEEN
