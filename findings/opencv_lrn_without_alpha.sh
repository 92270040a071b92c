#!/usr/bin/env bash
# OpenCV 4.14.0 (opencv-python-headless 4.14.0.94): an LRN layer without `alpha` is computed with alpha 0.0001, where
# Caffe's default is 1 (caffe.proto: optional float alpha = 2 [default = 1.]). With alpha written out both agree. Nets
# that leave it out give other numbers there without a word.
# Exits 0 where that is still so, 1 where it is not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q opencv-python-headless==4.14.0.94 numpy==2.4.6
cat > "$folder/look.py" <<'PY'
import sys

import cv2
import numpy as np

data = np.random.RandomState(0).standard_normal((1, 6, 3, 4)).astype(np.float32)


def lrn(fields):
    text = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 6 dim: 3 dim: 4 } } }\n'
    text += f'layer {{ name: "n" type: "LRN" bottom: "data" top: "n" lrn_param {{ local_size: 3 {fields} }} }}'
    net = cv2.dnn.readNetFromCaffe(np.frombuffer(text.encode(), np.uint8))
    net.setInput(data, "data")
    return net.forward("n")


def wanted(alpha):
    """x / (1 + alpha / 3 * sum of squares of the neighbours in channels)^0.75."""
    padded = np.pad(data**2, ((0, 0), (1, 1), (0, 0), (0, 0)))
    sums = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return data * (1 + alpha / 3 * sums) ** -0.75


without, written = lrn(""), lrn("alpha: 1")
off = [float(np.abs(found - wanted(alpha)).max()) for found, alpha in ((without, 1), (without, 1e-4), (written, 1))]
print(f"OpenCV {cv2.__version__}: without alpha it is off from alpha 1 by {off[0]:.3g}, from alpha 1e-4 by {off[1]:.3g}")
print(f"with alpha: 1 written out it is off by {off[2]:.3g}")
sys.exit(not (off[0] > 0.1 and off[1] < 1e-5 and off[2] < 1e-5))
PY
"$folder/venv/bin/python" "$folder/look.py"
