#!/usr/bin/env bash
# NVIDIA DALI 2.4.0 (nvidia-dali-cuda120): fn.readers.caffe gives an image that a Caffe LMDB holds raw, as
# convert_imageset writes it, the shape height x width x channels and leaves its bytes in Caffe's order, which is one
# channel behind the other (io.cpp, CVMatToDatum). What comes out has the shape of a picture, and its pixels are made of
# neighbours within one channel. Nothing is said; grey images are right. Reshaped to channels x height x width it is the
# image. Where the Datum does not say `encoded` (convert_cifar_data.cpp) the same bytes come as a vector. The reader of
# this package gives channels x height x width in both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 lmdb==2.0.0 astunparse==1.6.3 gast==0.6.0 libcst==1.9.0 makefun==1.16.0 nvtx==0.2.17 \
    optree==0.20.0 packaging==26.2 six==1.16.0
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps nvidia-dali-cuda120==2.4.0
cat > "$folder/look.py" <<'PYTHON'
import sys

import lmdb
import numpy as np
from nvidia.dali import fn, pipeline_def

IMAGE = np.arange(24, dtype=np.uint8).reshape(3, 2, 4)  # channels, height, width


def number(value):
    """A whole number of protobuf."""
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + number(value >> 7)


def datum(encoded):
    """The bytes of a Datum of the image and label 5; `encoded` as caffe.proto has it, or None to leave it out."""
    fields = {1: 3, 2: 2, 3: 4, 5: 5} | ({} if encoded is None else {7: encoded})
    text = b"".join(number(key << 3) + number(value) for key, value in fields.items())
    return text + number(4 << 3 | 2) + number(IMAGE.size) + IMAGE.tobytes()


def read(name, value):
    """The image that DALI reads of an LMDB of this one value."""
    database = lmdb.open(f"{sys.argv[1]}/{name}", map_size=1 << 20)
    with database.begin(write=True) as transaction:
        transaction.put(b"00000000", value)
    database.close()

    @pipeline_def(batch_size=1, num_threads=1, device_id=None)
    def pipeline():
        images, labels = fn.readers.caffe(path=f"{sys.argv[1]}/{name}")
        return images, labels

    made = pipeline()
    made.build()
    return np.asarray(made.run()[0][0])


for name, encoded in (("encoded: false", 0), ("no encoded", None)):
    top = read(name, datum(encoded))
    right = top.shape == (2, 4, 3) and (top == IMAGE.transpose(1, 2, 0)).all()
    print(f"{name}: shape {top.shape}, the image: {right}, the bytes of the Datum: {top.tobytes() == IMAGE.tobytes()}")
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" > "$folder/out" 2> "$folder/log" || { cat "$folder/log"; exit 1; }
cat "$folder/out"
diff "$folder/out" - <<'SEEN'
encoded: false: shape (2, 4, 3), the image: False, the bytes of the Datum: True
no encoded: shape (24,), the image: False, the bytes of the Datum: True
SEEN
