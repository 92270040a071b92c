#!/usr/bin/env bash
# OpenCV 4.14.0 (opencv-python-headless 4.14.0.94): its reader of Caffe nets calls a Convolution by its top, every other
# layer by its own name. So net.getLayerId("conv") is -1 where the top is "features", and a net in which another layer
# has the name of that blob is not read: "Layer ... already into net". Caffe keeps names of layers and of blobs apart.
# Who looks layers up by their names in the prototxt must look for a Convolution's top too.
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

HEAD = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 2 dim: 2 } } }\n'
LAYER = 'layer { name: "%s" type: "%s" bottom: "%s" top: "%s" %s }\n'
CONV = "convolution_param { num_output: 1 kernel_size: 1 bias_term: false }"


def field(number, payload):
    """A length-delimited field of protobuf."""
    return bytes([number << 3 | 2, len(payload)]) + payload


def weights():
    """A NetParameter of one layer, 'conv' (fields 100, 1, 2, 7), with one blob of the one value 2."""
    shape = field(7, field(1, b"\x01\x01\x01\x01"))
    blob = shape + field(5, np.float32(2).tobytes())
    layer = field(1, b"conv") + field(2, b"Convolution") + field(7, blob)
    return b"\xa2\x06" + bytes([len(layer)]) + layer


def names(text):
    buffers = [np.frombuffer(each, np.uint8) for each in (text.encode(), weights())]
    return list(cv2.dnn.readNetFromCaffe(*buffers).getLayerNames())


conv = LAYER % ("conv", "Convolution", "data", "features", CONV)
found = names(HEAD + conv + LAYER % ("squash", "TanH", "features", "out", ""))
print(f"OpenCV {cv2.__version__} calls the layers 'conv' and 'squash': {found}")
try:
    names(HEAD + conv + LAYER % ("features", "TanH", "features", "out", ""))
    refusal = ""
except cv2.error as error:
    refusal = str(error).strip().splitlines()[0]
print(f"with a layer of the name of that blob: {refusal or 'read'}")
sys.exit(not (found == ["features", "squash"] and "already into net" in refusal))
PY
"$folder/venv/bin/python" "$folder/look.py"
