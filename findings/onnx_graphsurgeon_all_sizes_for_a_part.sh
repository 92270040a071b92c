#!/usr/bin/env bash
# onnx-graphsurgeon 0.6.1: fold_constants() makes a constant of an ONNX Shape whose input has a known shape, and leaves
# its `start` and `end` out (Shape-15): all sizes stand where a part was asked for. A Gather behind it takes another
# axis: images for rows. What is reshaped by such sizes gets another shape, or stops where they do not fit. Nothing is
# said. PyTorch's exporter reads each size by a Shape with start and end; with an open batch they are left as they are,
# so that it shows only when somebody fixes the batch and folds. `export` writes Shape without either, and a Slice.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1 onnx_graphsurgeon==0.6.1
cat > "$folder/look.py" <<'PYTHON'
import numpy as np
import onnx_graphsurgeon
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

DATA = np.zeros((2, 3, 5, 7), np.float32)


def look(batch, *nodes, **fields):
    """The values of y, of the model as it is and of the folded one; the nodes follow a Shape that makes s."""
    shapes = {"x": (batch, *DATA.shape[1:]), "y": None}
    ends = [
        helper.make_tensor_value_info(name, TensorProto.INT64 if name == "y" else TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    ]
    kept = [numpy_helper.from_array(np.int64(0), "first")]
    every = [helper.make_node("Shape", ["x"], ["s" if nodes else "y"], **fields), *nodes]
    graph = helper.make_graph(every, "sizes", ends[:1], ends[1:], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folded = onnx_graphsurgeon.export_onnx(onnx_graphsurgeon.import_onnx(model).fold_constants().cleanup())
    seen = []
    for each in (model, folded):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        text = each.SerializeToString()
        session = onnxruntime.InferenceSession(text, options, providers=["CPUExecutionProvider"])
        seen.append(session.run(None, {"x": DATA} if session.get_inputs() else {})[0].tolist())
    print(f"batch {batch}:", "Shape", *(node.op_type for node in nodes), fields, seen[0], "folded", seen[1])


gather = helper.make_node("Gather", ["s", "first"], ["y"])
look(2)
look(2, start=2)
look(2, start=0, end=1)
look(2, start=-2, end=-1)
look(2, gather, start=2)
look("n", start=2)
look("n", gather, start=2)
PYTHON
"$folder/env/bin/python" "$folder/look.py" 2> "$folder/log" | tee "$folder/out" || { cat "$folder/log"; exit 1; }
diff "$folder/out" - <<'SEEN'
batch 2: Shape {} [2, 3, 5, 7] folded [2, 3, 5, 7]
batch 2: Shape {'start': 2} [5, 7] folded [2, 3, 5, 7]
batch 2: Shape {'start': 0, 'end': 1} [2] folded [2, 3, 5, 7]
batch 2: Shape {'start': -2, 'end': -1} [5] folded [2, 3, 5, 7]
batch 2: Shape Gather {'start': 2} 5 folded 2
batch n: Shape {'start': 2} [5, 7] folded [5, 7]
batch n: Shape Gather {'start': 2} 5 folded 5
SEEN
