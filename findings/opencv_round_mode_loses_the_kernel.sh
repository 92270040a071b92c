#!/usr/bin/env bash
# OpenCV 4.14.0 (opencv-python-headless 4.14.0.94): a Caffe Pooling layer that says round_mode is not read, and the
# message is of its kernel: "(-215:Assertion failed) kernel[i] > 0 in function 'getKernelSize'", though kernel_size
# stands in the prototxt. Its caffe.proto lacks the field (Caffe has it since 2017), and of a text with an unknown field
# the rest of pooling_param is lost too. The default, round_mode: CEIL, does it as well as FLOOR. `export --for opencv`
# writes poolings without the field.
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


def pool(fields):
    text = HEAD + 'layer { name: "p" type: "Pooling" bottom: "data" top: "p" pooling_param { %s } }' % fields
    net = cv2.dnn.readNetFromCaffe(np.frombuffer(text.encode(), np.uint8))
    net.setInput(data, "data")
    return net.forward("p").shape


for fields in ("kernel_size: 2 stride: 2", "kernel_size: 2 stride: 2 round_mode: CEIL"):
    try:
        print(fields, "->", pool(fields), file=out)
    except cv2.error as error:
        print(fields, "->", error.err, "in", error.func, file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
kernel_size: 2 stride: 2 -> (1, 2, 2, 3)
kernel_size: 2 stride: 2 round_mode: CEIL -> kernel[i] > 0 in getKernelSize
SEEN
