#!/usr/bin/env bash
# h5py 3.16.0 with HDF5 2.0.0, on x86: a chunk of float32 with the scaleoffset filter that begins with NaN is written
# without a word and can never be read again, with all its other values; a NaN further on comes back as the least number
# of its chunk, in float64 too. Of integers given a number of bits, values that do not fit come back as others: 100 in 4
# bits as 20. That NaN is not kept is known (h5py issue 783); that it takes the chunk along, nobody guesses. Blobs of a
# net that diverged, and labels with NaN for "none", are lost so. gzip keeps all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check h5py==3.16.0 numpy==2.4.6
cat > "$folder/look.py" <<'PYTHON'
import sys

import h5py
import numpy as np

PATH = sys.argv[1] + "/data.h5"


def words(values):
    return " ".join(f"{value:g}" for value in values)


def look(values, **options):
    """What was written, and what the file has."""
    with h5py.File(PATH, "w") as file:
        file.create_dataset("data", data=values, chunks=values.shape, **options)
    try:
        with h5py.File(PATH) as file:
            found = words(file["data"][:])
    except OSError:
        found = "cannot be read"
    print(*(f"{name} {each}:" for name, each in options.items()), words(values), "->", found)


print("h5py", h5py.__version__, "HDF5", h5py.version.hdf5_version)
nan = np.nan
look(np.float32([1, 2, nan, 3.25]), scaleoffset=2)
look(np.float32([5, -2, nan, nan, 3.25]), scaleoffset=2)
look(np.float64([5, -2, nan, nan, 3.25]), scaleoffset=2)
look(np.float32([nan, 1, 2, 3.25]), scaleoffset=2)
look(np.float64([nan, 1, 2, 3.25]), scaleoffset=2)
look(np.float32([1, 2, nan, 3.25]), compression="gzip")
look(np.int32([0, 15, 100, 200]), scaleoffset=4)
PYTHON
"$folder/env/bin/python" "$folder/look.py" "$folder" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
h5py 3.16.0 HDF5 2.0.0
scaleoffset 2: 1 2 nan 3.25 -> 1 2 1 3.25
scaleoffset 2: 5 -2 nan nan 3.25 -> 5 -2 -2 -2 3.25
scaleoffset 2: 5 -2 nan nan 3.25 -> 5 -2 -2 -2 3.25
scaleoffset 2: nan 1 2 3.25 -> cannot be read
scaleoffset 2: nan 1 2 3.25 -> nan 1 2 3.25
compression gzip: 1 2 nan 3.25 -> 1 2 nan 3.25
scaleoffset 4: 0 15 100 200 -> 0 15 20 24
SEEN
