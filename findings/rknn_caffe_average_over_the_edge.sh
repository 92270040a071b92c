#!/usr/bin/env bash
# rknn-toolkit2 2.5.0 divides a window of a Caffe AVE pooling that reaches over the end of the bottom by the whole
# kernel, and gives the last row and column too small; Caffe divides by the pixels in bottom and pad
# (pooling_layer.cpp). Caffe rounds sizes up, so that such windows are common: the 3/2 AVE poolings of CIFAR-10 quick
# have them, with no pad at all. Nothing is said, and the shape is right; of windows that fit the values are too. Seen
# in the simulator of the toolkit, without quantisation and with torch 2.13.0, which it only imports here.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    protobuf==4.25.4 psutil==7.2.2 ruamel.yaml==0.19.1 scipy==1.17.1 tqdm==4.70.1 opencv-python-headless==4.10.0.84 \
    fast-histogram==0.14 numpy==1.26.4 onnx==1.17.0 onnxruntime==1.20.1 setuptools==65.5.0 mpmath==1.3.0 \
    filelock==4.3.1 sympy==1.14.0 networkx==3.6.1 jinja2==3.1.6 fsspec==2026.9.0 typing_extensions==4.16.0
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps torch==2.13.0 rknn-toolkit2==2.5.0
cat > "$folder/look.py" <<'PYTHON'
import os
import sys

import numpy as np
from rknn.api import RKNN

os.chdir(sys.argv[1])
out = open("out", "w")
DATA = np.ones((1, 1, 6, 6), np.float32)
HEAD = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 6 dim: 6 } } }\n'
WEIGHTS = b"\xa2\x06\x0d\x0a\x04data\x12\x05Input"  # a NetParameter with one layer, of no blobs


def run(layer):
    """The top of a net of this layer, in the simulator that comes with the toolkit, without quantisation."""
    open("net.prototxt", "w").write(HEAD + layer)
    open("net.caffemodel", "wb").write(WEIGHTS)
    net = RKNN()
    net.config(target_platform="rk3588")
    steps = net.load_caffe(model="net.prototxt", blobs="net.caffemodel"), net.build(do_quantization=False)
    assert steps == (0, 0) and net.init_runtime() == 0
    return net.inference(inputs=[DATA], data_format=["nchw"])[0]


def caffe(kernel, stride, pad):
    """The last row of AVE pooling of ones by the loops of pooling_layer.cpp: a bottom of six pixels an axis."""
    last = -(-(6 + 2 * pad - kernel) // stride)
    starts = [place * stride - pad for place in range(last + 1)]
    inside = [min(start + kernel, 6) - max(start, 0) for start in starts]
    counted = [min(start + kernel, 6 + pad) - start for start in starts]
    return [inside[-1] * one / (counted[-1] * many) for one, many in zip(inside, counted, strict=True)]


POOL = 'layer { name: "n" type: "Pooling" bottom: "data" top: "n" pooling_param { pool: AVE %s } }'
for kernel, stride, pad in ((2, 2, 0), (3, 2, 0), (3, 2, 1)):
    fields = f"kernel_size: {kernel} stride: {stride} pad: {pad}"
    rows = (caffe(kernel, stride, pad), run(POOL % fields)[0, 0, -1])
    one, other = (" ".join(f"{value:.3g}" for value in row) for row in rows)
    print(f"{fields}: Caffe {one}, RKNN {other}", file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
kernel_size: 2 stride: 2 pad: 0: Caffe 1 1 1, RKNN 1 1 1
kernel_size: 3 stride: 2 pad: 0: Caffe 1 1 1, RKNN 0.667 0.667 0.444
kernel_size: 3 stride: 2 pad: 1: Caffe 0.333 0.5 0.5 0.25, RKNN 0.222 0.333 0.333 0.111
SEEN
