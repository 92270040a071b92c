#!/usr/bin/env bash
# MMdnn 0.3.1 makes the same of a Caffe net with and without these fields: negative_slope of ReLU (a leaky ReLU becomes
# a plain one), alpha of ELU, coeff of Eltwise (a - b becomes a + b), axis of Softmax, and norm_region of LRN (within a
# channel becomes across channels). Its intermediate form, of which it writes all frameworks, has no trace of them.
# Nothing is said, and the shapes are right. caffe.proto has all five. `export` writes them, and refuses what it cannot
# write, by name.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==1.23.5 protobuf==3.20.3 six==1.16.0
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps mmdnn==0.3.1
cat > "$folder/look.py" <<'PYTHON'
import sys
import warnings

warnings.simplefilter("ignore")
import numpy as np
from mmdnn.conversion.caffe.transformer import CaffeTransformer

out = open(f"{sys.argv[1]}/out", "w")
FILES = [f"{sys.argv[1]}/net.{end}" for end in ("prototxt", "caffemodel")]
HEAD = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 6 dim: 6 } } }\n'
HEAD += 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" '
HEAD += "convolution_param { num_output: 3 kernel_size: 1 bias_term: false } }\n"


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


def form(kind, bottoms, fields):
    """The node that MMdnn makes of a layer, as text, without its shapes."""
    layer = f'layer {{ name: "n" type: "{kind}" {bottoms} top: "n" {kind.lower()}_param {{ {fields} }} }}'
    open(FILES[0], "w").write(HEAD + layer)
    open(FILES[1], "wb").write(weights({"c": ("Convolution", np.ones((3, 3, 1, 1)))}))
    net = CaffeTransformer(*FILES, "tensorflow", None, phase="test")
    node = [each for each in net.transform_graph().as_graph_def().node if each.name == "n"][0]
    del node.attr["_output_shapes"]
    return str(node)


ONE, TWO = 'bottom: "c"', 'bottom: "c" bottom: "data"'
for kind, bottoms, plain, fields in (
    ("LRN", ONE, "", "alpha: 0.5"),
    ("LRN", ONE, "", "norm_region: WITHIN_CHANNEL"),
    ("ReLU", ONE, "", "negative_slope: 0.1"),
    ("ELU", ONE, "", "alpha: 0.3"),
    ("Eltwise", TWO, "operation: SUM", "coeff: 1 coeff: -1"),
    ("Softmax", ONE, "", "axis: 2"),
):
    same = form(kind, bottoms, plain) == form(kind, bottoms, f"{plain} {fields}")
    print(f"{kind} {fields}: {'as without it' if same else 'is kept'}", file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
LRN alpha: 0.5: is kept
LRN norm_region: WITHIN_CHANNEL: as without it
ReLU negative_slope: 0.1: as without it
ELU alpha: 0.3: as without it
Eltwise coeff: 1 coeff: -1: as without it
Softmax axis: 2: as without it
SEEN
