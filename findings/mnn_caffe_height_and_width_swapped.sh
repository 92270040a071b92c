#!/usr/bin/env bash
# MNN 3.6.1 converts a Caffe Convolution whose kernel_size, stride, pad or dilation is given once an axis (they are
# repeated in caffe.proto: height, then width) and swaps the two: `stride: 1 stride: 2` halves the height. A 3x1 filter
# is laid down as a 1x3 one. Written as kernel_h and kernel_w, stride_h and stride_w and so on they come right. Nothing
# is said, and with the pad that keeps the size even the shapes are Caffe's. `export --for mnn` writes the _h and _w.
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


def field(number, payload):
    """A length-delimited field of protobuf."""
    head = number << 3 | 2
    return (bytes([head]) if head < 128 else bytes([head & 127 | 128, head >> 7])) + bytes([len(payload)]) + payload


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
data = np.random.default_rng(0).standard_normal((1, 1, 6, 7)).astype(np.float32)
blob = field(7, field(1, b"\x01\x01\x03\x01")) + field(5, np.float32([1, 2, 3]).tobytes())
weights = field(100, field(1, b"c") + field(2, b"Convolution") + field(7, blob))
CONV = 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 1 %s } }'
HIGH = data[:, :, :-2] + 2 * data[:, :, 1:-1] + 3 * data[:, :, 2:]
for fields, right in (
    ("kernel_size: 3 kernel_size: 1", HIGH),
    ("kernel_h: 3 kernel_w: 1", HIGH),
    ("kernel_size: 3 kernel_size: 1 pad: 1 pad: 0", None),
    ("kernel_h: 3 kernel_w: 1 stride: 1 stride: 2", HIGH[:, :, :, ::2]),
    ("kernel_h: 3 kernel_w: 1 stride_h: 1 stride_w: 2", HIGH[:, :, :, ::2]),
):
    if right is None:
        padded = np.pad(data, ((0, 0), (0, 0), (1, 1), (0, 0)))
        right = padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + 3 * padded[:, :, 2:]
    top = run(data, CONV % (fields + " bias_term: false"), weights)[1]["c"]
    same = top.shape == right.shape and np.allclose(top, right)
    print(f"{fields}: Caffe {right.shape[2:]}, MNN {top.shape[2:]}, equal: {same}", file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
kernel_size: 3 kernel_size: 1: Caffe (4, 7), MNN (6, 5), equal: False
kernel_h: 3 kernel_w: 1: Caffe (4, 7), MNN (4, 7), equal: True
kernel_size: 3 kernel_size: 1 pad: 1 pad: 0: Caffe (6, 7), MNN (6, 7), equal: False
kernel_h: 3 kernel_w: 1 stride: 1 stride: 2: Caffe (4, 4), MNN (2, 7), equal: False
kernel_h: 3 kernel_w: 1 stride_h: 1 stride_w: 2: Caffe (4, 4), MNN (4, 4), equal: True
SEEN
