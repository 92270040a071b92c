#!/usr/bin/env bash
# openvino-dev 2023.3.0, whose `mo` is the last of OpenVINO to read Caffe nets, gives the classes of an ArgMax with
# top_k in the order of their numbers, the smallest first, not of their scores: the first of five is no longer the best,
# while with top_k: 1 all is well. Caffe sorts by value, the largest first (argmax_layer.cpp). Nothing is said and the
# shape is right, so that top-5 rates stay as they were and only the answers are wrong. `export` writes the order by
# value.
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
NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 6 dim: 1 dim: 1 } } }
layer { name: "n" type: "ArgMax" bottom: "data" top: "n" argmax_param { axis: 1 top_k: %d } }
"""
WEIGHTS = b"\xa2\x06\x0d\x0a\x04data\x12\x05Input"  # a NetParameter with one layer, of no blobs
SCORES = np.array([0.1, 0.5, 0.2, 0.7, 0.3, 0.6], np.float32)

open(FILES[1], "wb").write(WEIGHTS)
for top_k in (1, 3, 5):
    open(FILES[0], "w").write(NET % top_k)
    net = convert_model(input_model=FILES[1], input_proto=FILES[0], framework="caffe", silent=True)
    top = Core().compile_model(net, "CPU")([SCORES.reshape(1, 6, 1, 1)])[0].ravel()
    print(f"top_k {top_k}: Caffe {np.argsort(-SCORES)[:top_k]}, OpenVINO {top}", file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
top_k 1: Caffe [3], OpenVINO [3]
top_k 3: Caffe [3 5 1], OpenVINO [1 3 5]
top_k 5: Caffe [3 5 1 4 2], OpenVINO [1 2 3 4 5]
SEEN
