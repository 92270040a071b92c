#!/usr/bin/env bash
# tensorly-torch 0.5.0: tensor_dropout drops ranks of a factorized weight while it trains and scales what stays, so that
# the weight keeps its size on average. Of a Tucker or TT factorization it leaves modes of rank `min_dim` (3) and less
# alone, as its documentation says, and scales for them all the same, by 1 / (1 - p) each. So the weight of a 3x3
# convolution trains as 4 times what it is with p = 0.5 (two modes of rank 3), and one whose ranks are all kept as 16
# times, with nothing dropped at all; in evaluation it is itself. Nothing is said. CP, and modes of larger rank, are
# right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    torch==2.13.0 numpy==2.4.6 scipy==1.17.1 tensorly==0.10.0 tensorly-torch==0.5.0 packaging==26.4
cat > "$folder/look.py" <<'PYTHON'
from importlib.metadata import version

import torch
from tltorch import FactorizedTensor
from tltorch.tensor_hooks import tensor_dropout

SAMPLES = 6000
torch.manual_seed(0)


@torch.no_grad()
def look(factorization, shape, rank):
    """The mean weight of training, as a multiple of the weight, and that of evaluation."""
    weight = FactorizedTensor.new(shape, rank=rank, factorization=factorization).normal_(0, 0.5)
    whole = weight.to_tensor().clone()
    tensor_dropout(weight, p=0.5)
    found = []
    for samples in (SAMPLES, 1):
        mean = sum(weight().to_tensor() for _ in range(samples)) / samples
        found.append(float((mean * whole).sum() / (whole * whole).sum()))
        weight.eval()
    print(f"{factorization}, ranks {rank}: training {found[0]:.0f} times, evaluation {found[1]:.0f} times")


print("tensorly-torch", version("tensorly-torch"))
look("CP", (8, 8, 3, 3), 20)
look("Tucker", (8, 8, 6, 6), (8, 8, 6, 6))
look("Tucker", (8, 8, 6, 3), (8, 8, 6, 3))
look("Tucker", (8, 8, 3, 3), (8, 8, 3, 3))
look("Tucker", (8, 8, 3, 3), (3, 3, 3, 3))
look("TT", (8, 8, 8), (1, 8, 8, 1))
look("TT", (8, 8, 8), (1, 8, 3, 1))
look("TT", (8, 8, 8), (1, 3, 3, 1))
PYTHON
"$folder/env/bin/python" -W ignore "$folder/look.py" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
tensorly-torch 0.5.0
CP, ranks 20: training 1 times, evaluation 1 times
Tucker, ranks (8, 8, 6, 6): training 1 times, evaluation 1 times
Tucker, ranks (8, 8, 6, 3): training 2 times, evaluation 1 times
Tucker, ranks (8, 8, 3, 3): training 4 times, evaluation 1 times
Tucker, ranks (3, 3, 3, 3): training 16 times, evaluation 1 times
TT, ranks (1, 8, 8, 1): training 1 times, evaluation 1 times
TT, ranks (1, 8, 3, 1): training 2 times, evaluation 1 times
TT, ranks (1, 3, 3, 1): training 4 times, evaluation 1 times
SEEN
