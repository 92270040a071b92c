#!/usr/bin/env bash
# X2Paddle 1.6.0 writes the names of a Caffe net in small letters, and a Paddle program in which a blob is a variable of
# its layer's name: of two layers whose names differ by case alone (Feat and feat) the later takes the variable of the
# earlier, and who reads the first gets the second. Nothing is said; the program runs and has the right shapes. Caffe
# tells the two apart, and so does `export` (seen with paddlepaddle 2.6.2).
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
LAYERS = """
layer { name: "%s" type: "Sigmoid" bottom: "data" top: "first" }
layer { name: "feat" type: "TanH" bottom: "first" top: "second" }
layer { name: "n" type: "Eltwise" bottom: "first" bottom: "second" top: "n" eltwise_param { coeff: 1 coeff: -1 } }
"""
RUN = """
import sys
import numpy, paddle
sys.path.insert(0, sys.argv[1] + "/net")
import x2paddle_code
net = x2paddle_code.Net()
net.eval()
numpy.save(sys.argv[1] + "/top.npy", net(paddle.to_tensor(numpy.load(sys.argv[1] + "/data.npy"))).numpy())
"""

np.save(f"{folder}/data.npy", DATA)
open(f"{folder}/net.caffemodel", "wb").write(b"\xa2\x06\x0d\x0a\x04data\x12\x05Input")  # one layer, of no blobs
first = 1 / (1 + np.exp(-DATA))
for name in ("other", "Feat"):
    open(f"{folder}/net.prototxt", "w").write(HEAD + LAYERS % name)
    subprocess.run([sys.executable, f"{folder}/convert.py", folder], check=True)
    subprocess.run([sys.executable, "-c", RUN, folder], check=True)
    top = np.load(f"{folder}/top.npy")
    rules = {"first - second, as Caffe": first - np.tanh(first), "second - second": np.zeros_like(DATA)}
    print(f"{name} and feat:", *(rule for rule, each in rules.items() if np.allclose(top, each, atol=1e-4)), file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
other and feat: first - second, as Caffe
Feat and feat: second - second
SEEN
