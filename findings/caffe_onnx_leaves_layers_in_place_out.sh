#!/usr/bin/env bash
# caffe-onnx 0.1.2 knows some twenty layer types and passes over the others without a word. A layer in place of another
# type (TanH, ELU, AbsVal, Power, Exp, Scale that follows no BatchNorm) is simply gone from the ONNX model, which is
# valid and gives the values of the layer before. Caffe runs it, of course. In another place of the net the converter
# would fail for want of its top, so that exactly the layers in place, as most activations are written, go unnoticed.
# `export` refuses what it cannot write, by name.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    caffe-onnx==0.1.2 numpy==1.26.4 onnx==1.16.2 onnxruntime==1.19.2
cat > "$folder/look.py" <<'PYTHON'
import sys
import warnings

import numpy as np
import onnxruntime
from src.caffe2onnx import Caffe2Onnx
from src.load_save_model import loadcaffemodel

warnings.simplefilter("ignore")
folder = sys.argv[1]
out = open(f"{folder}/out", "w")
data = np.float32([[-2, -1], [1, 3]]).reshape(1, 1, 2, 2)
HEAD = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 2 dim: 2 } } }\n'


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


def run(layers, blobs):
    """The output of the model that the package makes of a net with these layers."""
    open(f"{folder}/net.prototxt", "w").write(HEAD + layers)
    open(f"{folder}/net.caffemodel", "wb").write(weights(blobs))
    net = loadcaffemodel(f"{folder}/net.prototxt", f"{folder}/net.caffemodel")
    model = Caffe2Onnx(*net, "net").createOnnxModel()
    model.ir_version, model.opset_import[0].version = 6, 11
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: data})[0].ravel()


CONV = 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" %s }'
CONV %= "convolution_param { num_output: 1 kernel_size: 1 }"
LAYER = 'layer { name: "n" type: "%s" bottom: "c" top: "c" }'
blobs = {"c": ("Convolution", np.ones((1, 1, 1, 1)), np.zeros(1)), "n": ("Scale", np.full(1, 10.0))}
RIGHT = {
    "ReLU": lambda x: np.maximum(x, 0),
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "TanH": np.tanh,
    "AbsVal": np.abs,
    "ELU": lambda x: np.where(x > 0, x, np.expm1(x)),
    "Exp": np.exp,
    "Scale": lambda x: 10 * x,
}
for kind, right in RIGHT.items():
    top, bottom = run(CONV + LAYER % kind, blobs), data.ravel()
    rules = {"as Caffe": right(bottom), "left out": bottom}
    print(kind, *(rule for rule, values in rules.items() if np.allclose(top, values, atol=1e-5)), file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
ReLU as Caffe
Sigmoid as Caffe
TanH left out
AbsVal left out
ELU left out
Exp left out
Scale left out
SEEN
