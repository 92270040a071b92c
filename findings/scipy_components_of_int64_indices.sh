#!/usr/bin/env bash
# scipy 1.11.1: connected_components of a COO array whose indices are int64 gives no component and the label -9999 for
# every node, and the call returns as if all were well (a note goes to stderr). 1.11.3 gives the two components.
# Whoever finds coupled channels, or any classes, from an edge list of numpy's default integers meets it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
cat > "$folder/components.py" <<'PYTHON'
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

first, second = np.array([0, 2]), np.array([1, 3])
for kind in (np.int64, np.int32):
    edges = coo_array((np.ones(2, bool), (first.astype(kind), second.astype(kind))), shape=(4, 4))
    count, labels = connected_components(edges, directed=False)
    print(kind.__name__, count, labels.tolist())
PYTHON
seen() {
    "$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check numpy==1.26.4 "scipy==$1"
    "$folder/env/bin/python" "$folder/components.py" 2> "$folder/notes" | tee "$folder/out"
    grep -c "Exception ignored" "$folder/notes" | sed 's/^/notes on stderr: /' || true
}
echo "scipy 1.11.1"
seen 1.11.1
printf 'int64 0 [-9999, -9999, -9999, -9999]\nint32 2 [0, 0, 1, 1]\n' | diff "$folder/out" -
echo "scipy 1.11.3"
seen 1.11.3
printf 'int64 2 [0, 0, 1, 1]\nint32 2 [0, 0, 1, 1]\n' | diff "$folder/out" -
