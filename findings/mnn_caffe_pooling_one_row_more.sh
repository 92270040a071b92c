#!/usr/bin/env bash
# MNN 3.6.1 converts a Caffe Pooling with a size that Caffe does not give. Caffe rounds up, then drops a last window
# that would begin behind the bottom, in its pad (pooling_layer.cpp), and rounds down with round_mode: FLOOR. MNN only
# rounds up: with a pad whole rows and columns come that read nothing but pad, and FLOOR counts as CEIL. Nothing is
# said; with convolutions and global pooling behind it only the numbers differ. `export --for mnn` writes a pooling of
# stride 1 and takes the rows that Caffe has.
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
data = np.random.default_rng(0).standard_normal((1, 1, 5, 6)).astype(np.float32)
POOL = 'layer { name: "p" type: "Pooling" bottom: "data" top: "p" pooling_param { pool: MAX %s } }'


def size(bottom, kernel, stride, pad, floor):
    """pooled_height of pooling_layer.cpp."""
    over = bottom + 2 * pad - kernel
    count = over // stride + 1 if floor else -(-over // stride) + 1
    return count - (pad > 0 and (count - 1) * stride >= bottom + pad)


for kernel, stride, pad, mode in ((3, 2, 0, ""), (3, 2, 1, ""), (2, 2, 1, ""), (3, 2, 0, "FLOOR"), (2, 2, 0, "FLOOR")):
    fields = f"kernel_size: {kernel} stride: {stride} pad: {pad}" + (f" round_mode: {mode}" if mode else "")
    caffe = tuple(size(each, kernel, stride, pad, bool(mode)) for each in data.shape[2:])
    print(f"{fields}: Caffe {caffe}, MNN {run(data, POOL % fields)[1]['p'].shape[2:]}", file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
kernel_size: 3 stride: 2 pad: 0: Caffe (2, 3), MNN (2, 3)
kernel_size: 3 stride: 2 pad: 1: Caffe (3, 4), MNN (3, 4)
kernel_size: 2 stride: 2 pad: 1: Caffe (3, 4), MNN (4, 4)
kernel_size: 3 stride: 2 pad: 0 round_mode: FLOOR: Caffe (2, 2), MNN (2, 3)
kernel_size: 2 stride: 2 pad: 0 round_mode: FLOOR: Caffe (2, 3), MNN (3, 3)
SEEN
