#!/usr/bin/env bash
# rknn-toolkit2 2.5.0 takes these fields of a Caffe net and does nothing with them: k of LRN, which counts as 1
# (VGG_CNN_S has 2), and coeff of Eltwise, but for 1 and -1: 0.5 * a + 2 * b becomes a + b. Nothing is said, and the
# shapes are right. Caffe obeys both (lrn_layer.cpp, eltwise_layer.cpp). Seen in the simulator of the toolkit, without
# quantisation and with torch 2.13.0, which it only imports here.
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
DATA = np.random.default_rng(0).normal(size=(1, 4, 6, 6)).astype(np.float32)
HEAD = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 4 dim: 6 dim: 6 } } }\n'
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


def lrn(k):
    """LRN of five channels with alpha 1 and beta 0.75."""
    squares = np.pad(DATA**2, [(0, 0), (2, 2), (0, 0), (0, 0)])
    return DATA / (k + sum(squares[:, first : first + 4] for first in range(5)) / 5) ** 0.75


ELTWISE = 'layer { name: "n" type: "Eltwise" bottom: "t" bottom: "data" top: "n" eltwise_param { %s } }'
TANH = 'layer { name: "t" type: "TanH" bottom: "data" top: "t" }\n'
other = np.tanh(DATA)
for fields, right, left_out in (
    ("k: 2", lrn(2), lrn(1)),
    ("k: 0.5", lrn(0.5), lrn(1)),
    ("coeff: 1 coeff: -1", other - DATA, other + DATA),
    ("coeff: 0.5 coeff: 2", 0.5 * other + 2 * DATA, other + DATA),
):
    layer = 'layer { name: "n" type: "LRN" bottom: "data" top: "n" lrn_param { %s } }'
    top = run(layer % fields if fields[0] == "k" else TANH + ELTWISE % fields)
    rules = {"as Caffe": right, "as without it": left_out}
    print(f"{fields}:", *(rule for rule, each in rules.items() if np.allclose(top, each, atol=0.02)), file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
k: 2: as without it
k: 0.5: as without it
coeff: 1 coeff: -1: as Caffe
coeff: 0.5 coeff: 2: as without it
SEEN
