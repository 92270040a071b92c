#!/usr/bin/env bash
# onnx 1.23.2: the LRN of its reference evaluator, which others are tested against, goes over as many channels as there
# are images: of a batch of n images the first n channels are normalised by their neighbours, the others only divided by
# bias ** beta, and more images than channels raise IndexError. With as many images as channels it is right. ONNX
# Runtime 1.31.1 follows the definition (ONNX operators, LRN-13; Caffe's lrn_layer.cpp). `export --for onnx.reference`
# writes LRN in another form.
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


for images in (1, 2, 4, 6):
    data = np.random.default_rng(0).standard_normal((images, 6, 3, 3)).astype(np.float32)
    squares = np.pad(data**2, ((0, 0), (1, 1), (0, 0), (0, 0)))
    right = data * (2 + 0.3 / 3 * (squares[:, :-2] + squares[:, 1:-1] + squares[:, 2:])) ** -0.75
    text = model(17, helper.make_node("LRN", ["x"], ["y"], size=3, alpha=0.3, beta=0.75, bias=2.0), data)
    one = ReferenceEvaluator(load_from_string(text)).run(None, {"x": data})[0]
    other = onnxruntime.InferenceSession(text, providers=["CPUExecutionProvider"]).run(None, {"x": data})[0]
    assert np.allclose(other, right, atol=1e-5)
    channels = [each for each in range(6) if np.allclose(one[:, each], right[:, each], atol=1e-5)]
    rest = [each for each in range(6) if np.allclose(one[:, each], data[:, each] * 2**-0.75, atol=1e-5)]
    print(f"{images} images: right in channels {channels}, by the bias alone in {rest}")
PYTHON
"$folder/env/bin/python" "$folder/look.py" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
1 images: right in channels [0], by the bias alone in [1, 2, 3, 4, 5]
2 images: right in channels [0, 1], by the bias alone in [2, 3, 4, 5]
4 images: right in channels [0, 1, 2, 3], by the bias alone in [4, 5]
6 images: right in channels [0, 1, 2, 3, 4, 5], by the bias alone in []
SEEN
