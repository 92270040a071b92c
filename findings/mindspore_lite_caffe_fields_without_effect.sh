#!/usr/bin/env bash
# MindSpore Lite 2.0.0 converts these Caffe layers otherwise than Caffe reads them: a Slice without axis cuts the batch,
# not the channels (slice_layer.cpp), so that each top has some of the images, all channels of them; a Crop with one
# offset for all its axes moves the first of them alone (crop_layer.cpp); coeff of a Reduction has no effect
# (reduction_layer.cpp); an ArgMax without axis finds the best image for each place, not the best value of each image
# (argmax_layer.cpp). Nothing is said. With axis, and an offset for each axis, they are right.
# Needs Python 3.7, the only one that the package is for.
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
HEAD = 'layer { name: "%s" type: "Input" top: "%s" input_param { shape { dim: 2 dim: %d dim: %d dim: %d } } }\n'
PLACES = np.arange(8, dtype=np.float32).reshape(2, 4)
DATA = np.float32([3, 1, -4, 1, 5, -9, 2, 6]).reshape(2, 4, 1, 1) + PLACES / 8
out = open(f"{sys.argv[1]}/out", "w")


def run(kind, fields, ends):
    """The top "n" of this layer on 'data', with a second bottom 'small' where it names one."""
    text = HEAD % ("data", "data", 4, 2, 4) + (HEAD % ("small", "small", 4, 1, 2) if "small" in ends else "")
    open(FILES[0], "w").write(text + f'layer {{ name: "n" type: "{kind}" bottom: "data" {ends} top: "n" {fields} }}')
    open(FILES[1], "wb").write(b"\x0a\x03net")  # a NetParameter with a name
    lite.Converter().convert(lite.FmkType.CAFFE, FILES[0], FILES[2][:-7], weight_file=FILES[1])
    context, net = lite.Context(), lite.Model()
    context.target = ["cpu"]
    net.build_from_file(FILES[2], lite.ModelType.MINDIR, context)
    bottoms = net.get_inputs()
    for bottom in bottoms:
        bottom.set_data_from_numpy(DATA if bottom.name == "data" else DATA[:, :, :1, :2].copy())
    tops = net.predict(bottoms)
    return next(top for top in tops if top.name == "n" or len(tops) == 1).get_data_to_numpy()


def look(kind, fields, right, other, ends=""):
    """Print which of two values the layer has."""
    top = run(kind, fields, ends)
    rules = {"as Caffe": right, "as said above": other}
    found = [rule for rule, each in rules.items() if top.shape == each.shape and np.allclose(top, each, atol=1e-4)]
    print(f"{kind} {fields}:", *found, file=out)


look("Slice", "", DATA[:, 2:], DATA[1:], 'top: "m"')
look("Slice", "slice_param { axis: 1 }", DATA[:, 2:], DATA[1:], 'top: "m"')
look("Crop", "crop_param { axis: 2 offset: 1 }", DATA[:, :, 1:, 1:3], DATA[:, :, 1:, :2], 'bottom: "small"')
look("Crop", "crop_param { axis: 2 offset: 1 offset: 1 }", DATA[:, :, 1:, 1:3], DATA[:, :, 1:, :2], 'bottom: "small"')
for operation, total in (
    ("SUM", DATA.sum((1, 2, 3))),
    ("MEAN", DATA.mean((1, 2, 3))),
    ("ASUM", abs(DATA).sum((1, 2, 3))),
    ("SUMSQ", (DATA**2).sum((1, 2, 3))),
):
    fields = f"reduction_param {{ operation: {operation} axis: 1 coeff: 0.5 }}"
    look("Reduction", fields, total / 2, total)
look("ArgMax", "", DATA.reshape(2, 1, -1).argmax(-1).reshape(2, 1, 1), DATA.argmax(0).reshape(1, 4, 2, 4))
look("ArgMax", "argmax_param { axis: 1 }", DATA.argmax(1).reshape(2, 1, 2, 4), DATA.argmax(0).reshape(1, 4, 2, 4))
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
Slice : as said above
Slice slice_param { axis: 1 }: as Caffe
Crop crop_param { axis: 2 offset: 1 }: as said above
Crop crop_param { axis: 2 offset: 1 offset: 1 }: as Caffe
Reduction reduction_param { operation: SUM axis: 1 coeff: 0.5 }: as said above
Reduction reduction_param { operation: MEAN axis: 1 coeff: 0.5 }: as said above
Reduction reduction_param { operation: ASUM axis: 1 coeff: 0.5 }: as said above
Reduction reduction_param { operation: SUMSQ axis: 1 coeff: 0.5 }: as said above
ArgMax : as said above
ArgMax argmax_param { axis: 1 }: as Caffe
SEEN
