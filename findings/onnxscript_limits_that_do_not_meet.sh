#!/usr/bin/env bash
# onnxscript 0.7.2: its optimizer, which PyTorch's exporter calls (torch.onnx.export of 2.13.0), makes one Clip of two,
# or of a Clip and a Relu behind it, with the larger lower and the smaller upper limit. Where the two ranges do not meet
# the value that comes out is of the wrong one: Clip to -1 ... -0.5, then Relu gives -0.5, a negative number of a Relu,
# where it is 0; max=0.2, then min=0.5 gives 0.2 for 0.5. Of a Clip whose min is above its max ONNX takes max (Clip-13).
# Nothing is said; ranges that meet are right. `export` writes a Caffe net's Clip and ReLU one by one: where their ranges
# do not meet they are not to be merged.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1 onnxscript==0.7.2
cat > "$folder/look.py" <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxscript import optimizer

DATA = np.float32([-2, -0.7, 0, 0.3, 0.6, 2])
LEVEL = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL


def run(model):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = LEVEL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run(None, {"x": DATA})[0]


def model(steps):
    """A chain of Clip, for a pair of limits of which None is left out, and Relu."""
    nodes, kept, value = [], [], "x"
    for number, step in enumerate(steps):
        top = "y" if number == len(steps) - 1 else f"t{number}"
        names = []
        for side, limit in zip(("low", "high"), step or (), strict=False):
            names.append("" if limit is None else f"{side}{number}")
            if limit is not None:
                kept.append(numpy_helper.from_array(np.float32(limit), names[-1]))
        nodes.append(helper.make_node("Clip" if step else "Relu", [value, *names], [top]))
        value = top
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, DATA.shape) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], kept)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def plain(steps):
    top = DATA
    for low, high in (step or (0, None) for step in steps):
        top = top if low is None else np.maximum(top, np.float32(low))
        top = top if high is None else np.minimum(top, np.float32(high))
    return top


for steps in (
    [(-1, 0.5), None],
    [(-1, -0.5), None],
    [(-1, 0.5), (0.2, 2)],
    [(-1, 0.5), (0.7, 2)],
    [(None, 0.2), (0.5, None)],
):
    before = model(steps)
    assert np.array_equal(run(before), plain(steps))
    after = optimizer.optimize(before)
    words = [f"Clip{step}" if step else "Relu" for step in steps]
    told = "right" if np.array_equal(run(after), plain(steps)) else "other values"
    print(*words, "|", *(node.op_type for node in after.graph.node), told, run(after)[:3], plain(steps)[:3])
PYTHON
"$folder/env/bin/python" "$folder/look.py" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
Clip(-1, 0.5) Relu | Clip right [0. 0. 0.] [0. 0. 0.]
Clip(-1, -0.5) Relu | Clip other values [-0.5 -0.5 -0.5] [0. 0. 0.]
Clip(-1, 0.5) Clip(0.2, 2) | Clip right [0.2 0.2 0.2] [0.2 0.2 0.2]
Clip(-1, 0.5) Clip(0.7, 2) | Clip other values [0.5 0.5 0.5] [0.7 0.7 0.7]
Clip(None, 0.2) Clip(0.5, None) | Clip other values [0.2 0.2 0.2] [0.5 0.5 0.5]
SEEN
