#!/usr/bin/env bash
# numpy 2.4.6: `take` of a view whose elements overlap (a window that begins at every byte, of as_strided or
# sliding_window_view) first copies the whole view: three windows of 84 bytes out of 4 MiB take 352 MB for a moment, and
# out= and mode= change nothing. Indexing the same view, view[places], takes 252 bytes. Who cuts crops out of a set in
# memory and reaches for take, to reuse its out=, meets it: a set of 60 MB asks for 5 GB.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6
cat > "$folder/take.py" <<'PYTHON'
import tracemalloc

import numpy as np

pixels = np.arange(1 << 22, dtype=np.uint32).astype(np.uint8)
windows = np.lib.stride_tricks.sliding_window_view(pixels, 84)
places = np.array([0, 5, 4_000_000])
out = np.empty((3, 84), np.uint8)


def megabytes(work):
    tracemalloc.start()
    found = work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(found, [pixels[place : place + 84] for place in places])
    return round(peak / 1e6)


print("numpy", np.__version__)
print("view[places]:", megabytes(lambda: windows[places]), "MB")
print("take:", megabytes(lambda: np.take(windows, places, 0)), "MB")
print("take into out, mode clip:", megabytes(lambda: np.take(windows, places, 0, out, "clip")), "MB")
PYTHON
"$folder/env/bin/python" "$folder/take.py" | tee "$folder/out"
printf 'numpy 2.4.6\nview[places]: 0 MB\ntake: 352 MB\ntake into out, mode clip: 352 MB\n' | diff "$folder/out" -
