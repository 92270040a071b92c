#!/usr/bin/env bash
# MNN 3.6.1, Python: runSession of a net that cannot be computed raises nothing. It returns a status that most code
# throws away (0 is well), and the tops can still be read as if there were results in them. A Caffe Eltwise SUM with
# coeff is such a net, but for 1 and -1: mnnconvert ends with "Converted Success!", and only the status tells, even for
# two ones. Caffe computes coeff[0] * a + coeff[1] * b (eltwise_layer.cpp). `export --for mnn`
# writes the coefficients as factors before a plain sum.
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
data = np.float32([-1, 0, 1, 2]).reshape(1, 1, 2, 2)
TANH = 'layer { name: "t" type: "TanH" bottom: "data" top: "t" }'
SUM = 'layer { name: "e" type: "Eltwise" bottom: "data" bottom: "t" top: "e" eltwise_param { operation: SUM %s } }'
for coefficients in ((), (1, -1), (1, 1), (0.5, 2)):
    status = run(data, TANH + SUM % " ".join(f"coeff: {each}" for each in coefficients))[0]
    print("coeff", *coefficients or ["not given"], "status", status, file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
coeff not given status 0
coeff 1 -1 status 0
coeff 1 1 status 2
coeff 0.5 2 status 2
SEEN
