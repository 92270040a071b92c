#!/usr/bin/env bash
# X2Paddle 1.6.0 and the pads of a Caffe Pooling: AVE divides by the pixels of the bottom alone, where Caffe counts the
# pad too (pooling_layer.cpp), so that the rim comes out too large, the corner of a 3/1 pool with pad 1, as branches of
# Inception have it, by nine fourths; pad_h and pad_w are left out, as if 0 (those of a Convolution are not). Nothing is
# said (seen with paddlepaddle 2.6.2). With pad: 1 MAX is right. `export` pads with operators of their own.
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
DATA = np.random.default_rng(0).normal(size=(1, 1, 5, 5)).astype(np.float32) * 3
HEAD = 'name: "Net" layer { name: "data" type: "Input" top: "data" '
HEAD += "input_param { shape { dim: 1 dim: 1 dim: 5 dim: 5 } } }\n"
LAYER = 'layer { name: "n" type: "Pooling" bottom: "data" top: "n" pooling_param { %s } }'
RUN = """
import sys
import numpy, paddle
sys.path.insert(0, sys.argv[1] + "/net")
import x2paddle_code
net = x2paddle_code.Net()
net.eval()
numpy.save(sys.argv[1] + "/top.npy", net(paddle.to_tensor(numpy.load(sys.argv[1] + "/data.npy"))).numpy())
"""


def caffe(pool, pad_h, pad_w):
    """A 3/1 pooling of the data by the loops of pooling_layer.cpp, the pads taken off its rim as Caffe does."""
    height, width = DATA.shape[2:]
    top = np.zeros((height + 2 * pad_h - 2, width + 2 * pad_w - 2))
    for y, x in np.ndindex(top.shape):
        rows, columns = range(y - pad_h, y - pad_h + 3), range(x - pad_w, x - pad_w + 3)
        places = [(row, column) for row in rows for column in columns if 0 <= row < height and 0 <= column < width]
        inside = [DATA[0, 0, row, column] for row, column in places]
        top[y, x] = max(inside) if pool == "MAX" else sum(inside) / 9
    return top


np.save(f"{folder}/data.npy", DATA)
open(f"{folder}/net.caffemodel", "wb").write(b"\xa2\x06\x0d\x0a\x04data\x12\x05Input")  # one layer, of no blobs
for pool, pads, pad_h, pad_w in (
    ("MAX", "pad: 1", 1, 1),
    ("AVE", "pad: 0", 0, 0),
    ("AVE", "pad: 1", 1, 1),
    ("MAX", "pad_h: 1 pad_w: 0", 1, 0),
):
    fields = f"pool: {pool} kernel_size: 3 stride: 1 {pads}"
    open(f"{folder}/net.prototxt", "w").write(HEAD + LAYER % fields)
    subprocess.run([sys.executable, f"{folder}/convert.py", folder], check=True)
    subprocess.run([sys.executable, "-c", RUN, folder], check=True)
    top, right = np.load(f"{folder}/top.npy")[0, 0], caffe(pool, pad_h, pad_w)
    same = f"corner {top[0, 0] / right[0, 0]:.3g} of Caffe's" if top.shape == right.shape else "another size"
    print(f"{fields}: Caffe {right.shape}, X2Paddle {top.shape}, {same}", file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
pool: MAX kernel_size: 3 stride: 1 pad: 1: Caffe (5, 5), X2Paddle (5, 5), corner 1 of Caffe's
pool: AVE kernel_size: 3 stride: 1 pad: 0: Caffe (3, 3), X2Paddle (3, 3), corner 1 of Caffe's
pool: AVE kernel_size: 3 stride: 1 pad: 1: Caffe (5, 5), X2Paddle (5, 5), corner 2.25 of Caffe's
pool: MAX kernel_size: 3 stride: 1 pad_h: 1 pad_w: 0: Caffe (5, 3), X2Paddle (3, 3), another size
SEEN
