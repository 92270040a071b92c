#!/usr/bin/env bash
# X2Paddle 1.6.0 divides the alpha of a Caffe LRN by local_size, as Caffe does (lrn_layer.cpp), and hands it to Paddle's
# LocalResponseNorm, which takes the mean of the squares, not the sum of its documentation, and so divides once more:
# alpha counts for a fifth with local_size 5. AlexNet, CaffeNet and GoogLeNet come out so. norm_region: WITHIN_CHANNEL
# is taken for the default, across channels. Nothing is said (seen with paddlepaddle 2.6.2). `export` writes LRN with
# Caffe's numbers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    paddlepaddle==2.6.2 numpy==1.26.4 protobuf==3.20.3 six==1.16.0 requests==2.32.3 packaging==26.2 setuptools==65.5.0
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps x2paddle==1.6.0
cat > "$folder/convert.py" <<'PYTHON'
import sys

from x2paddle.convert import caffe2paddle

folder = sys.argv[1]
caffe2paddle(f"{folder}/net.prototxt", f"{folder}/net.caffemodel", f"{folder}/net", None, disable_feedback=True)
PYTHON
cat > "$folder/look.py" <<'PYTHON'
import subprocess
import sys

import numpy as np

folder = sys.argv[1]
out = open(f"{folder}/out", "w")
DATA = np.random.default_rng(0).normal(size=(1, 6, 5, 5)).astype(np.float32) * 3
HEAD = 'name: "Net" layer { name: "data" type: "Input" top: "data" '
HEAD += "input_param { shape { dim: 1 dim: 6 dim: 5 dim: 5 } } }\n"
LAYER = 'layer { name: "n" type: "LRN" bottom: "data" top: "n" lrn_param { %s } }'
RUN = """
import sys
import numpy, paddle
sys.path.insert(0, sys.argv[1] + "/net")
import x2paddle_code
net = x2paddle_code.Net()
net.eval()
numpy.save(sys.argv[1] + "/top.npy", net(paddle.to_tensor(numpy.load(sys.argv[1] + "/data.npy"))).numpy())
"""


def lrn(size, alpha, beta):
    """LRN across channels: each value by (1 + alpha * the sum of `size` squares) ** beta."""
    squares = np.pad(DATA**2, [(0, 0), (size // 2,) * 2, (0, 0), (0, 0)])
    return DATA / (1 + alpha * sum(squares[:, first : first + 6] for first in range(size))) ** beta


np.save(f"{folder}/data.npy", DATA)
open(f"{folder}/net.caffemodel", "wb").write(b"\xa2\x06\x0d\x0a\x04data\x12\x05Input")  # one layer, of no blobs
for size, alpha, region in ((1, 0.5, ""), (5, 0.5, ""), (3, 0.1, ""), (3, 0.1, " norm_region: WITHIN_CHANNEL")):
    fields = f"local_size: {size} alpha: {alpha}{region}"
    open(f"{folder}/net.prototxt", "w").write(HEAD + LAYER % fields)
    subprocess.run([sys.executable, f"{folder}/convert.py", folder], check=True)
    subprocess.run([sys.executable, "-c", RUN, folder], check=True)
    top = np.load(f"{folder}/top.npy")
    rules = {"alpha / size": size, "alpha / size / size": size**2}
    fits = [rule for rule, by in rules.items() if np.allclose(top, lrn(size, alpha / by, 0.75), atol=1e-4)]
    print(f"{fields}: across channels, {' or '.join(fits)}", file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
local_size: 1 alpha: 0.5: across channels, alpha / size or alpha / size / size
local_size: 5 alpha: 0.5: across channels, alpha / size / size
local_size: 3 alpha: 0.1: across channels, alpha / size / size
local_size: 3 alpha: 0.1 norm_region: WITHIN_CHANNEL: across channels, alpha / size / size
SEEN
