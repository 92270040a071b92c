#!/usr/bin/env bash
# OpenVINO 2026.4.1 reads ReduceL1, ReduceLogSum and ReduceLogSumExp of ONNX operator sets 13 to 17 without `axes`: all
# axes are reduced, to one number. Up to 12 and from 18 on, where axes is an input, they are right, and the reductions
# beside them at all versions. Nothing is said, and what broadcasts behind goes on: x / ReduceL1(x) is divided by one
# number for the whole batch. 13 to 17 are what PyTorch's exporter wrote by default for years. ONNX Runtime 1.31.1
# follows the definition. `export` writes operator set 17 and sums of absolute values as ReduceSum.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1 openvino==2026.4.1
cat > "$folder/look.py" <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper, shape_inference
from openvino import Core

data = np.abs(np.random.default_rng(0).standard_normal((2, 3, 4, 5))).astype(np.float32)
AXES = numpy_helper.from_array(np.array([1]), "axes")
RIGHT = {
    "ReduceL1": data.sum(1),
    "ReduceL2": np.sqrt((data**2).sum(1)),
    "ReduceLogSum": np.log(data.sum(1)),
    "ReduceLogSumExp": np.log(np.exp(data).sum(1)),
    "ReduceMax": data.max(1),
    "ReduceMean": data.mean(1),
    "ReduceMin": data.min(1),
    "ReduceProd": data.prod(1),
    "ReduceSumSquare": (data**2).sum(1),
}


def model(version, node, data, constants=()):
    """The bytes of a model of one node that reads x, and constants if any, and makes y."""
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, data.shape), helper.make_empty_tensor_value_info("y")]
    graph = helper.make_graph([node], "one", ends[:1], ends[1:], list(constants))
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)
    return shape_inference.infer_shapes(whole).SerializeToString()


for name, right in RIGHT.items():
    words = []
    for version in (11, 12, 13, 17, 18):
        inputs, fields = (["x"], {"axes": [1]}) if version < 18 else (["x", "axes"], {})
        node = helper.make_node(name, inputs, ["y"], keepdims=0, **fields)
        text = model(version, node, data, [AXES] if version >= 18 else [])
        core = Core()
        one = core.compile_model(core.read_model(text), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(data)[0]
        other = onnxruntime.InferenceSession(text, providers=["CPUExecutionProvider"]).run(None, {"x": data})[0]
        assert np.allclose(other, right, rtol=1e-4), (name, version)
        same = one.shape == right.shape and np.allclose(one, right, rtol=1e-4)
        words.append(f"{version} {'right' if same else one.shape}")
    print(name, *words, sep=", ")
PYTHON
"$folder/env/bin/python" "$folder/look.py" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
ReduceL1, 11 right, 12 right, 13 (), 17 (), 18 right
ReduceL2, 11 right, 12 right, 13 right, 17 right, 18 right
ReduceLogSum, 11 right, 12 right, 13 (), 17 (), 18 right
ReduceLogSumExp, 11 right, 12 right, 13 (), 17 (), 18 right
ReduceMax, 11 right, 12 right, 13 right, 17 right, 18 right
ReduceMean, 11 right, 12 right, 13 right, 17 right, 18 right
ReduceMin, 11 right, 12 right, 13 right, 17 right, 18 right
ReduceProd, 11 right, 12 right, 13 right, 17 right, 18 right
ReduceSumSquare, 11 right, 12 right, 13 right, 17 right, 18 right
SEEN
