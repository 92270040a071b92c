#!/usr/bin/env bash
# MindSpore Lite 2.0.0 converts a Caffe Exp layer and obeys its scale and shift in the share of the first thread only:
# with two threads, its default, the first half of the blob is exp(shift + scale * x), and the second exp(x); with one
# thread all is right, with four a quarter. base is left out at any number, so that 2^x is e^x, but for the
# factor base^shift, where there is a shift. Caffe: base^(shift + scale * x) for all (exp_layer.cpp). Nothing is said,
# and the default, e^x, shows nothing. Needs Python 3.7, the only one that the package is for.
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
HEAD = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 8 } } }\n'
DATA = np.float32([[-2, -1, 0, 1, -2, -1, 0, 1]])
out = open(f"{sys.argv[1]}/out", "w")


def run(fields, threads):
    """The top of an Exp layer with these fields, on so many threads."""
    layer = 'layer { name: "n" type: "Exp" bottom: "data" top: "n" exp_param { %s } }'
    open(FILES[0], "w").write(HEAD + layer % fields)
    open(FILES[1], "wb").write(b"\x0a\x03net")  # a NetParameter with a name
    lite.Converter().convert(lite.FmkType.CAFFE, FILES[0], FILES[2][:-7], weight_file=FILES[1])
    context, net = lite.Context(), lite.Model()
    context.target = ["cpu"]
    context.cpu.thread_num = threads
    net.build_from_file(FILES[2], lite.ModelType.MINDIR, context)
    bottoms = net.get_inputs()
    bottoms[0].set_data_from_numpy(DATA)
    return net.predict(bottoms)[0].get_data_to_numpy()


def show(name, values):
    print(f"  {name}:", *(f"{value:.2f}" for value in values.ravel()), file=out)


for base, scale, shift in ((np.e, 1, 0), (np.e, 0.5, 0), (np.e, 1, 1), (2, 1, 0)):
    fields = f"scale: {scale} shift: {shift}" + (" base: 2" if base == 2 else "")
    print(fields, file=out)
    show("Caffe", base ** (shift + scale * DATA))
    for threads in (1, 2, 4) if base == np.e else (1,):
        show(f"{threads} threads", run(fields, threads))
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
scale: 1 shift: 0
  Caffe: 0.14 0.37 1.00 2.72 0.14 0.37 1.00 2.72
  1 threads: 0.14 0.37 1.00 2.72 0.14 0.37 1.00 2.72
  2 threads: 0.14 0.37 1.00 2.72 0.14 0.37 1.00 2.72
  4 threads: 0.14 0.37 1.00 2.72 0.14 0.37 1.00 2.72
scale: 0.5 shift: 0
  Caffe: 0.37 0.61 1.00 1.65 0.37 0.61 1.00 1.65
  1 threads: 0.37 0.61 1.00 1.65 0.37 0.61 1.00 1.65
  2 threads: 0.37 0.61 1.00 1.65 0.14 0.37 1.00 2.72
  4 threads: 0.37 0.61 1.00 2.72 0.14 0.37 1.00 2.72
scale: 1 shift: 1
  Caffe: 0.37 1.00 2.72 7.39 0.37 1.00 2.72 7.39
  1 threads: 0.37 1.00 2.72 7.39 0.37 1.00 2.72 7.39
  2 threads: 0.37 1.00 2.72 7.39 0.14 0.37 1.00 2.72
  4 threads: 0.37 1.00 1.00 2.72 0.14 0.37 1.00 2.72
scale: 1 shift: 0 base: 2
  Caffe: 0.25 0.50 1.00 2.00 0.25 0.50 1.00 2.00
  1 threads: 0.14 0.37 1.00 2.72 0.14 0.37 1.00 2.72
SEEN
