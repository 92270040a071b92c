#!/usr/bin/env bash
# OpenCV 4.14.0 (opencv-python-headless 4.14.0.94): forwardAndRetrieve(["s"]) gives all outputs of a layer, but only the
# first is kept. The second is read after later layers have reused its memory: of a Slice whose second part a TanH
# reads, what comes back for that part is its TanH, without an error. An extra reader of the part keeps it.
# Who compares a net with Caffe blob by blob, second tops too, must not take them from forwardAndRetrieve.
# Exits 0 where that is still so, 1 where it is not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q opencv-python-headless==4.14.0.94 numpy==2.4.6
cat > "$folder/net.prototxt" <<'NET'
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 4 dim: 6 dim: 6 } } }
layer { name: "s" type: "Slice" bottom: "data" top: "p" top: "q" slice_param { slice_point: 1 } }
layer { name: "r" type: "ReLU" bottom: "p" top: "u" }
layer { name: "t" type: "TanH" bottom: "q" top: "v" }
NET
cat > "$folder/look.py" <<'PY'
import sys

import cv2
import numpy as np

text = open(sys.argv[1]).read()
data = np.random.RandomState(0).standard_normal((1, 4, 6, 6)).astype(np.float32)


def second(prototxt):
    """The largest difference of the second output from the part of the data that it is, and from its TanH."""
    net = cv2.dnn.readNetFromCaffe(np.frombuffer(prototxt.encode(), np.uint8))
    net.enableFusion(False)
    net.setInput(data, "data")
    outputs = net.forwardAndRetrieve(["s", "r", "t"])
    return [float(np.abs(outputs[0][1] - wanted).max()) for wanted in (data[:, 1:], np.tanh(data[:, 1:]))]


alone = second(text)
read = second(text + 'layer { name: "x" type: "Power" bottom: "q" top: "x" }')
print(f"OpenCV {cv2.__version__}: the second part is off by {alone[0]:.3g}, from its own TanH by {alone[1]:.3g}")
print(f"with a second reader it is off by {read[0]:.3g}")
sys.exit(not (alone[0] > 0.5 and alone[1] < 1e-5 and read[0] < 1e-6))
PY
"$folder/venv/bin/python" "$folder/look.py" "$folder/net.prototxt"
