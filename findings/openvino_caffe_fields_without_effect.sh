#!/usr/bin/env bash
# openvino-dev 2023.3.0, whose `mo` is the last of OpenVINO to read Caffe nets, takes these fields and does nothing with
# them: across_channels of MVN (each channel is normalised for itself), coeff of Eltwise where there are three bottoms
# (a - b + c becomes a + b + c; with two bottoms it is obeyed), use_global_stats: false of BatchNorm, and `exclude` of a
# layer, which is run in the phase that it leaves out (`include` is obeyed). Nothing is said, and the shapes are right.
# Caffe obeys all four (mvn_layer.cpp, eltwise_layer.cpp, batch_norm_layer.cpp, net.cpp). `export` writes what they say.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==1.26.4 networkx==3.1 defusedxml==0.7.1 protobuf==3.20.3
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    openvino==2023.3.0 openvino-dev==2023.3.0
cat > "$folder/look.py" <<'PYTHON'
import sys

import numpy as np
from openvino.runtime import Core
from openvino.tools.mo import convert_model

out = open(f"{sys.argv[1]}/out", "w")
FILES = [f"{sys.argv[1]}/net.{end}" for end in ("prototxt", "caffemodel")]
HEAD = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 dim: 2 dim: 3 } } }\n'
DATA = np.random.default_rng(0).normal(size=(1, 2, 2, 3)).astype(np.float32)
STATISTICS = [np.array([1.0, -1.0]), np.array([4.0, 0.25]), np.ones(1)]


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


def look(kind, fields, right, left_out, ends='bottom: "data" top: "n"', before=""):
    """Print which of two values the net of one such layer, behind others if any, has."""
    open(FILES[0], "w").write(HEAD + before + f'layer {{ name: "n" type: "{kind}" {ends} {fields} }}')
    blobs = STATISTICS if kind == "BatchNorm" else []
    open(FILES[1], "wb").write(weights({"n": (kind, *blobs)}))
    net = convert_model(
        input_model=FILES[1], input_proto=FILES[0], framework="caffe", silent=True, compress_to_fp16=False
    )
    top = list(Core().compile_model(net, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([DATA]).values())[0]
    rules = {"as Caffe": right, "as without it": left_out}
    print(f"{kind} {fields}:", *(rule for rule, each in rules.items() if np.allclose(top, each, atol=1e-4)), file=out)


def normal(*axes):
    """The data with the mean and the deviation over these axes taken out."""
    return (DATA - DATA.mean(axes, keepdims=True)) / DATA.std(axes, keepdims=True)


stored = (DATA - STATISTICS[0].reshape(2, 1, 1)) / np.sqrt(STATISTICS[1].reshape(2, 1, 1))
look("MVN", "mvn_param { normalize_variance: false }", DATA - DATA.mean((2, 3), keepdims=True), normal(2, 3))
look("MVN", "mvn_param { across_channels: true }", normal(1, 2, 3), normal(2, 3))
look("BatchNorm", "batch_norm_param { use_global_stats: false }", normal(0, 2, 3), stored)
for count, factors in ((2, "coeff: 2 coeff: -3"), (3, "coeff: 2 coeff: -3 coeff: 5")):
    ends = count * 'bottom: "data" ' + 'top: "n"'
    right = (-1 if count == 2 else 4) * DATA
    look("Eltwise", f"eltwise_param {{ {factors} }}", right, count * DATA, ends)
for rule in ("include { phase: TRAIN }", "exclude { phase: TEST }"):
    relu = 'layer { name: "r" type: "ReLU" bottom: "data" top: "r" }\n'
    right = np.maximum(DATA, 0)
    look("TanH", rule, right, np.tanh(right), 'bottom: "r" top: "r"', relu)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
MVN mvn_param { normalize_variance: false }: as Caffe
MVN mvn_param { across_channels: true }: as without it
BatchNorm batch_norm_param { use_global_stats: false }: as without it
Eltwise eltwise_param { coeff: 2 coeff: -3 }: as Caffe
Eltwise eltwise_param { coeff: 2 coeff: -3 coeff: 5 }: as without it
TanH include { phase: TRAIN }: as Caffe
TanH exclude { phase: TEST }: as without it
SEEN
