#!/usr/bin/env bash
# tensorly 0.10.0: tucker(tensor, rank, fixed_factors=[0], init=...) gives the other modes the ranks of their
# neighbours: rank has one entry a mode, as its documentation says, and is read as if the fixed modes were not in it.
# Rank (2, 3, 5) with mode 0 fixed gives a core of 2 x 2 x 3, and what those ranks cannot hold is lost. Only with the
# last modes fixed, or the fixed ones left out of rank, it is as asked. And the core is the tensor times the transposes
# of the factors, right where their columns are orthonormal: a fixed factor twice as long gives 4 times the tensor, and
# one of correlated columns another tensor. Nothing is said. It meets whoever keeps a basis of windows or colours and
# decomposes filters around it. Without fixed_factors all is right. `decompose` computes Tucker itself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check tensorly==0.10.0 numpy==2.4.6 scipy==1.17.1
cat > "$folder/look.py" <<'PYTHON'
from importlib.metadata import version

import numpy as np
from tensorly import tucker_to_tensor
from tensorly.decomposition import tucker

random = np.random.default_rng(0)
bases = [random.standard_normal(shape) for shape in ((4, 2), (6, 3), (8, 5))]
filters = tucker_to_tensor((random.standard_normal((2, 3, 5)), bases))
core, factors = tucker(filters, rank=(2, 3, 5))


def look(name, rank, fixed=None, start=None):
    """The core's shape, and how far the decomposition is from the tensor, which is of rank (2, 3, 5)."""
    found = tucker(filters, rank=rank, fixed_factors=fixed, init=start or "svd")
    off = np.linalg.norm(tucker_to_tensor(found) - filters) / np.linalg.norm(filters)
    scale = np.vdot(tucker_to_tensor(found), filters) / np.vdot(filters, filters)
    print(f"{name}: core {found[0].shape}, off by {off:.2f}, {scale:.2f} times the tensor")


def factor_changed(matrix):
    """The same decomposition, with factor 0 times a matrix and the core times its inverse."""
    return np.tensordot(np.linalg.inv(matrix), core, 1), [factors[0] @ matrix, *factors[1:]]


print("tensorly", version("tensorly"))
look("none fixed", (2, 3, 5))
for fixed in ([0], [1], [2], [1, 2]):
    look(f"fixed {fixed}", (2, 3, 5), fixed, (core, list(factors)))
look("fixed [0], rank of the others", (3, 5), [0], (core, list(factors)))
look("fixed [0], twice as long", (3, 5), [0], factor_changed(2 * np.eye(2)))
look("fixed [0], correlated columns", (3, 5), [0], factor_changed(np.array([[1, 0.5], [0, 1]])))
PYTHON
"$folder/env/bin/python" "$folder/look.py" 2> "$folder/said" | tee "$folder/out"
test ! -s "$folder/said"
diff "$folder/out" - <<'SEEN'
tensorly 0.10.0
none fixed: core (2, 3, 5), off by 0.00, 1.00 times the tensor
fixed [0]: core (2, 2, 3), off by 0.12, 0.99 times the tensor
fixed [1]: core (2, 3, 3), off by 0.09, 0.99 times the tensor
fixed [2]: core (2, 3, 5), off by 0.00, 1.00 times the tensor
fixed [1, 2]: core (2, 3, 5), off by 0.00, 1.00 times the tensor
fixed [0], rank of the others: core (2, 3, 5), off by 0.00, 1.00 times the tensor
fixed [0], twice as long: core (2, 3, 5), off by 3.00, 4.00 times the tensor
fixed [0], correlated columns: core (2, 3, 5), off by 0.56, 1.24 times the tensor
SEEN
