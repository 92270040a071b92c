#!/usr/bin/env bash
# ncnn 1.0.20261020: a Pooling whose size is rounded up (pad mode 0, its own default, which pnnx 20261020 writes for
# ceil_mode of PyTorch and ONNX) keeps a last window that begins in the pad behind, and gives one row and column more,
# of the lowest float for MAX, of 0 for AVE. Caffe drops it (pooling_layer.cpp), and so do PyTorch and ONNX. And AVE that
# counts its pad (6=1, Caffe's rule) divides a last window that reaches past the pad by the whole kernel, where Caffe
# counts what lies in bottom and pad. Nothing is said. `export` to ONNX writes poolings whose windows fit.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 ncnn==1.0.20261020
cat > "$folder/look.py" <<'PYTHON'
import math
import sys

import ncnn
import numpy as np


def by_ncnn(bottom, method, kernel, pad):
    """The last column of a pooling with stride 2."""
    words = f"0={int(method == 'AVE')} 1={kernel} 2=2 3={pad} 5=0 6=1"
    lines = ["7767517", "2 2", "Input x 0 1 x", f"Pooling pool 1 1 x y {words}"]
    with open(sys.argv[1] + ".param", "w") as file:
        print(*lines, sep="\n", file=file)
    open(sys.argv[1] + ".bin", "wb").close()
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.load_param(sys.argv[1] + ".param")
    net.load_model(sys.argv[1] + ".bin")
    extractor = net.create_extractor()
    extractor.input("x", ncnn.Mat(bottom).clone())
    return np.array(extractor.extract("y")[1])[0, :, -1]


def by_caffe(bottom, method, kernel, pad):
    """The same by pooling_layer.cpp, in plain loops."""
    size = bottom.shape[1]
    count = math.ceil((size + 2 * pad - kernel) / 2) + 1
    count -= pad > 0 and (count - 1) * 2 >= size + pad
    top = []
    for row in range(count):
        (first, last), (left, right) = ((each * 2 - pad, each * 2 - pad + kernel) for each in (row, count - 1))
        last, right = min(last, size + pad), min(right, size + pad)
        window = bottom[0, max(first, 0) : min(last, size), max(left, 0) : min(right, size)]
        top.append(window.max() if method == "MAX" else window.sum() / ((last - first) * (right - left)))
    return np.float32(top)


for method, size, kernel, pad in (
    ("MAX", 6, 3, 0), ("MAX", 6, 3, 1), ("MAX", 5, 2, 1), ("AVE", 7, 3, 1), ("AVE", 6, 3, 0), ("AVE", 6, 3, 1),
    ("AVE", 5, 2, 1),
):  # fmt: skip
    bottom = np.ones((1, size, size), np.float32)
    tops = [how(bottom, method, kernel, pad) for how in (by_ncnn, by_caffe)]
    words = [" ".join(f"{value:.3g}" for value in top) for top in tops]
    print(f"{method} {kernel}/2 pad {pad} of {size} pixels: ncnn {words[0]} | Caffe {words[1]}")
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder/net" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
MAX 3/2 pad 0 of 6 pixels: ncnn 1 1 1 | Caffe 1 1 1
MAX 3/2 pad 1 of 6 pixels: ncnn 1 1 1 1 | Caffe 1 1 1 1
MAX 2/2 pad 1 of 5 pixels: ncnn -3.4e+38 -3.4e+38 -3.4e+38 -3.4e+38 | Caffe 1 1 1
AVE 3/2 pad 1 of 7 pixels: ncnn 0.444 0.667 0.667 0.444 | Caffe 0.444 0.667 0.667 0.444
AVE 3/2 pad 0 of 6 pixels: ncnn 0.667 0.667 0.444 | Caffe 1 1 1
AVE 3/2 pad 1 of 6 pixels: ncnn 0.222 0.333 0.333 0.111 | Caffe 0.333 0.5 0.5 0.25
AVE 2/2 pad 1 of 5 pixels: ncnn 0 0 0 0 | Caffe 0.5 1 1
SEEN
