#!/usr/bin/env bash
# onnx 1.23.2: its version_converter knows on the way up that Softmax and LogSoftmax changed with operator set 13, from
# one distribution over all axes from `axis` on to one along that axis. On the way down, from 13 or more to 12 or less,
# the nodes stay as they are and mean something else: one distribution an image where there was one a pixel. Hardmax,
# which changed in the same way, stays as it is on the way up. Nothing is said; a bottom of two axes shows nothing.
# Who takes a net down for a reader of older sets meets it. `export` writes operator set 17.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1
cat > "$folder/look.py" <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, version_converter

DATA = np.float32([0, 1, 2, 3, 4, 5, 6, 9]).reshape(1, 2, 2, 2)


def run(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": DATA})[0]


def by_plain_loops(operator, version, data):
    """Channels of one pixel share a distribution from 13 on, all of an image before."""
    rows = data.reshape(1, -1) if version < 13 else np.moveaxis(data, 1, -1).reshape(-1, 2)
    powers = np.exp(rows) / np.exp(rows).sum(1, keepdims=True)
    tops = {"Softmax": powers, "LogSoftmax": np.log(powers), "Hardmax": np.eye(rows.shape[1])[rows.argmax(1)]}
    top = tops[operator]
    return top.reshape(data.shape) if version < 13 else np.moveaxis(top.reshape(1, 2, 2, 2), -1, 1)


for operator in ("Softmax", "LogSoftmax", "Hardmax"):
    for source, target in ((12, 13), (11, 17), *(() if operator == "Hardmax" else ((13, 12), (17, 11)))):
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, DATA.shape) for name in ("x", "y")]
        graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"], axis=1)], "one", ends[:1], ends[1:])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", source)], ir_version=7)
        before, after = run(model), run(version_converter.convert_version(model, target))
        assert np.allclose(before, by_plain_loops(operator, source, DATA), atol=1e-6)
        told = "the same" if np.allclose(before, after, atol=1e-6) else "other values"
        told += ", of the rule of the other set" if np.allclose(after, by_plain_loops(operator, target, DATA)) else ""
        print(operator, source, "to", target, told)
PYTHON
"$folder/env/bin/python" "$folder/look.py" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
Softmax 12 to 13 the same
Softmax 11 to 17 the same
Softmax 13 to 12 other values, of the rule of the other set
Softmax 17 to 11 other values, of the rule of the other set
LogSoftmax 12 to 13 the same
LogSoftmax 11 to 17 the same
LogSoftmax 13 to 12 other values, of the rule of the other set
LogSoftmax 17 to 11 other values, of the rule of the other set
Hardmax 12 to 13 other values, of the rule of the other set
Hardmax 11 to 17 other values, of the rule of the other set
SEEN
