#!/usr/bin/env bash
# OpenCV 4.14.0 (opencv-python-headless 4.14.0.94): its reader of Caffe nets takes these fields and does nothing with
# them: base, scale and shift of Log (which Exp obeys), eps of MVN, k of LRN, transpose of InnerProduct, and pad_h or
# pad_w where only one of them is written, the other being 0 by default in caffe.proto. Nothing is said; but for the pad
# the shapes are right. With the other pad written out too, pad_h: 1 pad_w: 0, it is obeyed. `export --for opencv`
# writes layers that say the same without these fields.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 opencv-python-headless==4.14.0.94
cat > "$folder/look.py" <<'PYTHON'
import sys

import cv2
import numpy as np

out = open(f"{sys.argv[1]}/out", "w")
data = np.random.default_rng(0).random((1, 2, 4, 5)).astype(np.float32) + 0.5
HEAD = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 dim: 4 dim: 5 } } }\n'


def number(value):
    """A whole number of protobuf."""
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + number(value >> 7)


def field(key, payload):
    """A length-delimited field of protobuf."""
    return number(key << 3 | 2) + number(len(payload)) + payload


def weights(layers):
    """The bytes of a NetParameter: of layers by name, the type and the arrays of each."""
    text = b""
    for name, (kind, *arrays) in layers.items():
        layer = field(1, name.encode()) + field(2, kind.encode())
        for each in arrays:
            layer += field(7, field(7, field(1, bytes(each.shape))) + field(5, each.astype("<f4").tobytes()))
        text += field(100, layer)
    return text


def run(kind, fields, *arrays):
    param = {"Convolution": "convolution", "InnerProduct": "inner_product"}.get(kind, kind.lower())
    text = HEAD + 'layer { name: "n" type: "%s" bottom: "data" top: "n" %s_param { %s } }' % (kind, param, fields)
    files = [text.encode(), weights({"n": (kind, *arrays)})]
    net = cv2.dnn.readNetFromCaffe(*(np.frombuffer(each, np.uint8) for each in files))
    net.setInput(data, "data")
    return net.forward("n")


square = np.pad(data**2, ((0, 0), (1, 1), (0, 0), (0, 0)))
sums = square[:, :-2] + square[:, 1:-1] + square[:, 2:]
centred, deviation = data - data.mean((2, 3), keepdims=True), data.std((2, 3), keepdims=True)
matrix = np.random.default_rng(1).standard_normal((40, 3)).astype(np.float32)
added = data.sum(1, keepdims=True)
high, wide = np.pad(added, ((0, 0), (0, 0), (1, 1), (0, 0))), np.pad(added, ((0, 0), (0, 0), (0, 0), (1, 1)))
ONE = "num_output: 1 kernel_size: 1 bias_term: false "
LRN = "local_size: 3 alpha: 0.3 beta: 0.75 "
FULL = "num_output: 3 bias_term: false "
filters = np.ones((1, 2, 1, 1))
for kind, fields, right, *arrays in (
    ("Exp", "base: 2", 2**data),
    ("Log", "base: 2", np.log2(data)),
    ("Log", "scale: 2 shift: 1", np.log(2 * data + 1)),
    ("MVN", "eps: 0.5", centred / (deviation + 0.5)),
    ("LRN", LRN + "k: 1", data * (1 + 0.1 * sums) ** -0.75),
    ("LRN", LRN + "k: 2", data * (2 + 0.1 * sums) ** -0.75),
    ("InnerProduct", FULL, data.reshape(1, 40) @ matrix, matrix.T),
    ("InnerProduct", FULL + "transpose: true", data.reshape(1, 40) @ matrix, matrix),
    ("Convolution", ONE + "pad_h: 1 pad_w: 0", high, filters),
    ("Convolution", ONE + "pad_h: 1", high, filters),
    ("Convolution", ONE + "pad_w: 1", wide, filters),
):
    top = run(kind, fields, *arrays)
    same = top.shape == right.shape and np.allclose(top, right, rtol=1e-4)
    print(kind, fields.replace(ONE, "").replace(LRN, "").replace(FULL, "") or "plain", "as Caffe:", same, file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
Exp base: 2 as Caffe: True
Log base: 2 as Caffe: False
Log scale: 2 shift: 1 as Caffe: False
MVN eps: 0.5 as Caffe: False
LRN k: 1 as Caffe: True
LRN k: 2 as Caffe: False
InnerProduct plain as Caffe: True
InnerProduct transpose: true as Caffe: False
Convolution pad_h: 1 pad_w: 0 as Caffe: True
Convolution pad_h: 1 as Caffe: False
Convolution pad_w: 1 as Caffe: False
SEEN
