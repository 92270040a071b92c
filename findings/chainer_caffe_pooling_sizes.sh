#!/usr/bin/env bash
# Chainer 7.8.1: a Caffe net in its CaffeFunction has other pooling sizes than in Caffe, which rounds up and drops a
# last window that would begin in the pad (pooling_layer.cpp), for MAX and AVE alike. Chainer rounds AVE down (the AVE
# 3/2 of CIFAR-10 quick and full give 7 for 8), and of MAX it keeps the window in the pad: a last row and column of
# -inf, which a weight of 0 behind turns into nan. Nothing is said. Only with windows that fit are both Caffe's.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==1.23.5 protobuf==3.20.3 setuptools==65.5.0 wheel==0.44.0 \
    six==1.16.0 typing_extensions==4.12.2 filelock==3.16.1
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    --no-deps --no-build-isolation chainer==7.8.1
cat > "$folder/look.py" <<'PYTHON'
import sys
import warnings

warnings.simplefilter("ignore")
import numpy as np
from chainer import Variable
from chainer.links.caffe import CaffeFunction
from chainer.links.caffe.protobuf3 import caffe_pb2
from google.protobuf import text_format

out = open(f"{sys.argv[1]}/out", "w")
file = f"{sys.argv[1]}/net.caffemodel"
POOL = 'layer { name: "p" type: "Pooling" bottom: "data" top: "p" pooling_param { %s } }'


def size(bottom, kernel, stride, pad):
    """pooled_height of pooling_layer.cpp."""
    count = -(-(bottom + 2 * pad - kernel) // stride) + 1
    return count - (pad > 0 and (count - 1) * stride >= bottom + pad)


for bottom, kernel, pad in ((6, 2, 0), (6, 3, 0), (6, 3, 1), (5, 3, 1), (5, 2, 1)):
    for pool in ("MAX", "AVE"):
        fields = f"pool: {pool} kernel_size: {kernel} stride: 2 pad: {pad}"
        open(file, "wb").write(text_format.Merge(POOL % fields, caffe_pb2.NetParameter()).SerializeToString())
        ones = Variable(np.ones((1, 1, bottom, bottom), np.float32))
        top = CaffeFunction(file)(inputs={"data": ones}, outputs=["p"])[0].array[0, 0]
        caffe, last = size(bottom, kernel, 2, pad), "all -inf" if np.isneginf(top[-1]).all() else "numbers"
        print(f"{pool} {kernel}/2 pad {pad} of {bottom}: Caffe {caffe}, Chainer {len(top)}, last row {last}", file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
MAX 2/2 pad 0 of 6: Caffe 3, Chainer 3, last row numbers
AVE 2/2 pad 0 of 6: Caffe 3, Chainer 3, last row numbers
MAX 3/2 pad 0 of 6: Caffe 3, Chainer 3, last row numbers
AVE 3/2 pad 0 of 6: Caffe 3, Chainer 2, last row numbers
MAX 3/2 pad 1 of 6: Caffe 4, Chainer 4, last row numbers
AVE 3/2 pad 1 of 6: Caffe 4, Chainer 3, last row numbers
MAX 3/2 pad 1 of 5: Caffe 3, Chainer 3, last row numbers
AVE 3/2 pad 1 of 5: Caffe 3, Chainer 3, last row numbers
MAX 2/2 pad 1 of 5: Caffe 3, Chainer 4, last row all -inf
AVE 2/2 pad 1 of 5: Caffe 3, Chainer 3, last row numbers
SEEN
