#!/usr/bin/env bash
# MNN 3.6.1 converts a Caffe MVN and does not subtract the mean: what comes out is x / deviation, where the deviation
# itself is taken around the mean. Only with normalize_variance: false, where nothing is divided, the mean goes. Caffe
# subtracts it in both cases (mvn_layer.cpp). Nothing is said. `export --for mnn` writes the same from layers that MNN
# computes right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check MNN==3.6.1 numpy==2.4.6
cat > "$folder/look.py" <<'PYTHON'
import sys

import _tools
import MNN
import numpy as np

folder = sys.argv[1]


def run(data, layers, weights=b""):
    """What MNN makes of the blob 'data' with these layers: its status, and its outputs by name."""
    dims = " ".join(f"dim: {size}" for size in data.shape)
    head = 'layer { name: "data" type: "Input" top: "data" input_param { shape { %s } } }\n' % dims
    files = [f"{folder}/net.{end}" for end in ("prototxt", "caffemodel", "mnn")]
    open(files[0], "w").write(head + layers)
    open(files[1], "wb").write(weights)
    arguments = ["--prototxt", files[0], "--modelFile", files[1], "--MNNModel", files[2], "--bizCode", "net"]
    _tools.mnnconvert(["mnnconvert", "-f", "CAFFE", *arguments])
    net = MNN.Interpreter(files[2])
    session = net.createSession()
    kind, order = MNN.Halide_Type_Float, MNN.Tensor_DimensionType_Caffe
    net.getSessionInput(session).copyFrom(MNN.Tensor(data.shape, kind, data, order))
    status, tops = net.runSession(session), {}
    for name, top in net.getSessionOutputAll(session).items():
        host = MNN.Tensor(top.getShape(), kind, np.zeros(top.getShape(), np.float32), order)
        top.copyToHostTensor(host)
        tops[name] = np.array(host.getNumpyData(), np.float32).reshape(top.getShape())
    return status, tops


out = open(f"{folder}/out", "w")
data = np.float32([1, 2, 3, 4]).reshape(1, 1, 2, 2)
centred = data - data.mean()
for fields, right in (("", centred / data.std()), ("normalize_variance: false", centred)):
    layer = 'layer { name: "m" type: "MVN" bottom: "data" top: "m" mvn_param { %s } }' % fields
    top = run(data, layer)[1]["m"]
    for whose, values in (("Caffe", right), ("MNN", top)):
        print(fields or "plain", whose, *(f"{value:.3f}" for value in values.ravel()), file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
plain Caffe -1.342 -0.447 0.447 1.342
plain MNN 0.894 1.789 2.683 3.578
normalize_variance: false Caffe -1.500 -0.500 0.500 1.500
normalize_variance: false MNN -1.500 -0.500 0.500 1.500
SEEN
