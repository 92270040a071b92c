#!/usr/bin/env bash
# OpenCV 4.14.0 and 5.0.0 read an ONNX ReduceMean over three axes of a batch of images, keep the right shape, and give
# other values: 4.14.0 over the last three axes, even of one image, and over all but the second; 5.0.0 over the latter
# only. Nothing is said. One and two axes are right. Normalisation by the statistics of a batch, or by a whole image, is
# written so; two reductions, one behind the other, are right in both, and that is what `export` writes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/reduce.py" <<'PYTHON'
import cv2
import numpy as np
from onnx import TensorProto, helper

x = np.random.default_rng(0).standard_normal((3, 4, 5, 6)).astype(np.float32)
for items in (3, 1):
    for axes in ([1], [2, 3], [1, 2, 3], [0, 2, 3]):
        right = x[:items].mean(tuple(axes), keepdims=True)
        node = helper.make_node("ReduceMean", ["x"], ["y"], axes=axes, keepdims=1)
        ends = [helper.make_tensor_value_info(*each) for each in (("x", TensorProto.FLOAT, x[:items].shape),
                                                                  ("y", TensorProto.FLOAT, right.shape))]
        graph = helper.make_graph([node], "reduce", ends[:1], ends[1:])
        text = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
        net = cv2.dnn.readNetFromONNX(np.frombuffer(text, np.uint8))
        net.setInput(x[:items], "x")
        found = net.forward()
        print(cv2.__version__, items, axes, found.shape == right.shape, bool(np.allclose(found, right, atol=1e-5)))
PYTHON
for version in 4.14.0.94 5.0.0.93; do
    python3 -m venv --clear "$folder/env"
    "$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
        numpy==2.4.6 onnx==1.23.2 "opencv-python-headless==$version"
    "$folder/env/bin/python" "$folder/reduce.py" | tee -a "$folder/out"
done
diff "$folder/out" - <<'SEEN'
4.14.0 3 [1] True True
4.14.0 3 [2, 3] True True
4.14.0 3 [1, 2, 3] True False
4.14.0 3 [0, 2, 3] True False
4.14.0 1 [1] True True
4.14.0 1 [2, 3] True True
4.14.0 1 [1, 2, 3] True False
4.14.0 1 [0, 2, 3] True True
5.0.0 3 [1] True True
5.0.0 3 [2, 3] True True
5.0.0 3 [1, 2, 3] True True
5.0.0 3 [0, 2, 3] True False
5.0.0 1 [1] True True
5.0.0 1 [2, 3] True True
5.0.0 1 [1, 2, 3] True True
5.0.0 1 [0, 2, 3] True True
SEEN
