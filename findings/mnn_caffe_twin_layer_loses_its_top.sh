#!/usr/bin/env bash
# MNN 3.6.1 converts a Caffe net in which two layers compute the same of one bottom, and keeps one of them: the top of
# the other is no output of the net, though the prototxt asks for it. The converter ends with "Converted Success!", and
# the list of outputs that it prints is one short. Caffe gives every top that no layer reads. Nets with several heads
# that begin alike, and prototxts cut down for a look at a few blobs, are such. With one differing field both stay.
# `export --for mnn` lets the second layer read a copy of the bottom.
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
POWER = 'layer { name: "%s" type: "Power" bottom: "data" top: "%s" power_param { scale: %s } }'
PLAIN = 'layer { name: "%s" type: "%s" bottom: "data" top: "%s" }'
for what, layers in (
    ("two TanH", PLAIN % ("a", "TanH", "a") + PLAIN % ("b", "TanH", "b")),
    ("a TanH and a Sigmoid", PLAIN % ("a", "TanH", "a") + PLAIN % ("b", "Sigmoid", "b")),
    ("two Power of scale 2", POWER % ("a", "a", 2) + POWER % ("b", "b", 2)),
    ("two Power of scales 2 and 3", POWER % ("a", "a", 2) + POWER % ("b", "b", 3)),
):
    print(f"{what}, tops a and b:", *sorted(run(data, layers)[1]), file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
two TanH, tops a and b: a
a TanH and a Sigmoid, tops a and b: a b
two Power of scale 2, tops a and b: b
two Power of scales 2 and 3, tops a and b: a b
SEEN
