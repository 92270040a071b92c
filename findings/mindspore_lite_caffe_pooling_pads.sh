#!/usr/bin/env bash
# MindSpore Lite 2.0.0 and a Caffe Pooling with a pad: AVE divides by the pixels of the bottom alone, where Caffe counts
# the pad too (pooling_layer.cpp), so that the rim is too large, a corner of a 3/1 pool with pad 1, as branches of
# Inception have it, by nine fourths; MAX keeps a last row and column of windows that lie wholly in the pad, which Caffe
# leaves out, and fills them with the lowest float, -3.4e38. Nothing is said. Without a pad both are right, rounded up
# too. Needs Python 3.7, the only one that the package is for.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.7 "$HOME"/.pyenv/versions/3.7.*/bin/python; do
    if "$python" -c "" 2> /dev/null; then break; fi
done
"$python" -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check mindspore-lite==2.0.0 numpy==1.21.6
cat > "$folder/look.py" <<'PYTHON'
import sys

import mindspore_lite as lite
import numpy as np

FILES = [f"{sys.argv[1]}/net.{end}" for end in ("prototxt", "caffemodel", "mindir")]
HEAD = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: %d dim: %d } } }\n'
out = open(f"{sys.argv[1]}/out", "w")


def run(pool, kernel, stride, pad, data):
    """The top of a Pooling layer of these fields on a map."""
    fields = f"pool: {pool} kernel_size: {kernel} stride: {stride} pad: {pad}"
    layer = f'layer {{ name: "n" type: "Pooling" bottom: "data" top: "n" pooling_param {{ {fields} }} }}'
    open(FILES[0], "w").write(HEAD % data.shape + layer)
    open(FILES[1], "wb").write(b"\x0a\x03net")  # a NetParameter with a name
    lite.Converter().convert(lite.FmkType.CAFFE, FILES[0], FILES[2][:-7], weight_file=FILES[1])
    context, net = lite.Context(), lite.Model()
    context.target = ["cpu"]
    net.build_from_file(FILES[2], lite.ModelType.MINDIR, context)
    bottoms = net.get_inputs()
    bottoms[0].set_data_from_numpy(data[None, None])
    return net.predict(bottoms)[0].get_data_to_numpy()[0, 0]


def caffe(pool, kernel, stride, pad, data):
    """The same as pooling_layer.cpp has it."""
    sizes = [-(-(size + 2 * pad - kernel) // stride) + 1 for size in data.shape]
    sizes = [rows - (pad > 0 and (rows - 1) * stride >= size + pad) for rows, size in zip(sizes, data.shape)]
    top = np.empty(sizes)
    for place in np.ndindex(*sizes):
        starts = [at * stride - pad for at in place]
        ends = [min(start + kernel, size + pad) for start, size in zip(starts, data.shape)]
        window = data[max(starts[0], 0) : ends[0], max(starts[1], 0) : ends[1]]
        top[place] = window.max() if pool == "MAX" else window.sum() / np.prod(np.subtract(ends, starts))
    return top


def words(values):
    return " / ".join(" ".join(f"{value:.3g}" for value in row) for row in values)


AVE = [("AVE", 3, 1, 1), ("AVE", 3, 2, 1), ("AVE", 2, 2, 0)]
MAX = [("MAX", 2, 2, 1), ("MAX", 3, 2, 1), ("MAX", 2, 2, 0)]
for fields in AVE + MAX:
    data = np.arange(-9, 0, dtype=np.float32).reshape(3, 3) if fields[0] == "MAX" else np.full((3, 3), 36, np.float32)
    print(f"{fields[0]} {fields[1]}/{fields[2]} pad {fields[3]}: Caffe", words(caffe(*fields, data)), file=out)
    print("  MindSpore Lite", words(run(*fields, data)), file=out)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
AVE 3/1 pad 1: Caffe 16 24 16 / 24 36 24 / 16 24 16
  MindSpore Lite 36 36 36 / 36 36 36 / 36 36 36
AVE 3/2 pad 1: Caffe 16 16 / 16 16
  MindSpore Lite 36 36 / 36 36
AVE 2/2 pad 0: Caffe 36 36 / 36 36
  MindSpore Lite 36 36 / 36 36
MAX 2/2 pad 1: Caffe -9 -7 / -3 -1
  MindSpore Lite -9 -7 -3.4e+38 / -3 -1 -3.4e+38 / -3.4e+38 -3.4e+38 -3.4e+38
MAX 3/2 pad 1: Caffe -5 -4 / -2 -1
  MindSpore Lite -5 -4 / -2 -1
MAX 2/2 pad 0: Caffe -5 -4 / -2 -1
  MindSpore Lite -5 -4 / -2 -1
SEEN
