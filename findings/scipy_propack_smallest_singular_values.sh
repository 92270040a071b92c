#!/usr/bin/env bash
# scipy 1.17.1: svds(A, which="SM", solver="propack") of a matrix with more rows than columns gives a smallest singular
# value that A has not: 0, before the real ones, so that a matrix of full rank looks as if it lacked one. The vector of
# columns that comes with it is all zeros, so that A v = s u holds and no such test finds it. And with the iterations it
# takes by itself it may come back unfinished, with zeros alone. Nothing is raised or warned of. Of the transpose, with
# 1000 iterations, it is right, and so are solver="arpack" and which="LM". Who reads ranks of filter banks from their
# smallest singular values must take another solver.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 scipy==1.17.1
cat > "$folder/look.py" <<'PYTHON'
import numpy as np
import scipy
from scipy.sparse.linalg import svds

COUNT = 3


def words(values):
    return " ".join(f"{value:.3f}" for value in values)


def look(name, matrix, **options):
    """The smallest singular values, the lengths of their right vectors, and whether A v is s u."""
    left, values, right = svds(matrix, k=COUNT, which="SM", rng=0, **options)
    apart = np.abs(matrix @ right.T - left * values).max() > 1e-6
    lengths = np.linalg.norm(right, axis=1)
    print(f"  {name}: {words(values)}; lengths {words(lengths)}; A v is {'not ' if apart else ''}s u")


print("scipy", scipy.__version__)
whole = np.random.default_rng(0).standard_normal((100, 60))
for matrix in (whole[:30, :20], whole[:30, :20].T, whole, whole.T):
    print(*matrix.shape, "has", words(np.linalg.svd(matrix, compute_uv=False)[: -COUNT - 1 : -1]))
    look("arpack", matrix, solver="arpack")
    look("propack", matrix, solver="propack")
    look("propack, 1000 iterations", matrix, solver="propack", maxiter=1000)
PYTHON
OMP_NUM_THREADS=1 "$folder/env/bin/python" "$folder/look.py" 2>&1 | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
scipy 1.17.1
30 20 has 1.213 1.525 2.375
  arpack: 1.213 1.525 2.375; lengths 1.000 1.000 1.000; A v is s u
  propack: 0.000 1.213 1.525; lengths 0.000 1.000 1.000; A v is s u
  propack, 1000 iterations: 0.000 1.213 1.525; lengths 0.000 1.000 1.000; A v is s u
20 30 has 1.213 1.525 2.375
  arpack: 1.213 1.525 2.375; lengths 1.000 1.000 1.000; A v is s u
  propack: 1.213 1.525 2.375; lengths 1.000 1.000 1.000; A v is s u
  propack, 1000 iterations: 1.213 1.525 2.375; lengths 1.000 1.000 1.000; A v is s u
100 60 has 2.143 2.348 2.708
  arpack: 2.143 2.348 2.708; lengths 1.000 1.000 1.000; A v is s u
  propack: 0.000 0.000 0.000; lengths 1.000 1.000 1.000; A v is not s u
  propack, 1000 iterations: 0.000 2.143 2.348; lengths 0.000 1.000 1.000; A v is s u
60 100 has 2.143 2.348 2.708
  arpack: 2.143 2.348 2.708; lengths 1.000 1.000 1.000; A v is s u
  propack: 0.000 0.000 0.000; lengths 1.000 1.000 1.000; A v is not s u
  propack, 1000 iterations: 2.143 2.348 2.708; lengths 1.000 1.000 1.000; A v is s u
SEEN
