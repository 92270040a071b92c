#!/usr/bin/env bash
# MNN 3.6.1 converts a Caffe Log without `base` and takes no logarithm: what comes out is scale * x + shift, the bottom
# itself where neither is given. With base: 2 or base: 2.718281828 the logarithm is taken. In caffe.proto the default of
# base is -1, which means e, in Log as in Exp, which MNN has right. Nothing is said; log-likelihoods come out as
# likelihoods. `export --for mnn` writes the base out.
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
data = np.float32([1, 2, 4, 8]).reshape(1, 1, 2, 2)
for kind, fields, right in (
    ("Log", "", np.log(data)),
    ("Log", "scale: 2 shift: 1", np.log(2 * data + 1)),
    ("Log", "base: 2", np.log2(data)),
    ("Log", "base: 2.718281828", np.log(data)),
    ("Exp", "", np.exp(data)),
):
    layer = 'layer { name: "f" type: "%s" bottom: "data" top: "f" %s_param { %s } }' % (kind, kind.lower(), fields)
    layer += 'layer { name: "top" type: "Power" bottom: "f" top: "top" power_param { scale: 3 } }'
    top = run(data, layer)[1]["top"] / 3
    values = " ".join(f"{value:.4g}" for value in top.ravel())
    print(kind, fields or "plain", "right" if np.allclose(top, right, rtol=1e-4) else f"{values}", file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
Log plain 1 2 4 8
Log scale: 2 shift: 1 3 5 9 17
Log base: 2 right
Log base: 2.718281828 right
Exp plain right
SEEN
