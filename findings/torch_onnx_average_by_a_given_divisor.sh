#!/usr/bin/env bash
# torch 2.13.0 with onnxscript 0.7.2: torch.onnx.export leaves divisor_override of avg_pool2d out. The ONNX model divides
# each window by its pixels: sums of 3 x 3 (divisor 1, the usual way to a sum pooling) come out as a ninth. Nothing is
# said, the program that is exported still has the divisor, and the shape is right. The exporter of before
# (dynamo=False) does the same. ONNX's AveragePool has no such field; a factor behind the pooling would say it.
# An AVE pooling of this package whose pad is wider than half its kernel sums so, and as exported multiplies instead.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1 onnxscript==0.7.2 torch==2.13.0
cat > "$folder/look.py" <<'PYTHON'
import io
import sys

import numpy as np
import onnxruntime
import torch
from torch.nn import AvgPool2d

out = open(sys.argv[1], "w")
DATA = torch.arange(1.0, 26).reshape(1, 1, 5, 5)


def run(bytes_):
    session = onnxruntime.InferenceSession(bytes_, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: DATA.numpy()})[0]


for divisor in (None, 1, 4):
    layer = AvgPool2d(3, stride=2, divisor_override=divisor)
    windows = DATA.numpy()[0, 0]
    sums = np.float32([[windows[y : y + 3, x : x + 3].sum() for x in (0, 2)] for y in (0, 2)])
    assert np.allclose(layer(DATA).numpy()[0, 0], sums / (divisor or 9))
    top = run(torch.onnx.export(layer, (DATA,), dynamo=True, verbose=False).model_proto.SerializeToString())[0, 0]
    told = [str(each) for each in (1, 4, 9) if np.allclose(top, sums / each)]
    file = io.BytesIO()
    torch.onnx.export(layer, (DATA,), file, dynamo=False)
    before = [str(each) for each in (1, 4, 9) if np.allclose(run(file.getvalue())[0, 0], sums / each)]
    print(f"divisor {divisor}: divided by", *told, "with dynamo=False by", *before, file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder/out" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
divisor None: divided by 9 with dynamo=False by 9
divisor 1: divided by 9 with dynamo=False by 9
divisor 4: divided by 9 with dynamo=False by 9
SEEN
