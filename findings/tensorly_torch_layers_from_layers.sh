#!/usr/bin/env bash
# tensorly-torch 0.5.0 makes a factorized layer of a layer, "with equivalent weights", and at full rank it is another
# one: FactorizedConv.from_conv takes the first stride for all axes, so that stride (2, 1) halves the width too, and
# padding_mode for zeros; FactorizedLinear.from_linear gives a Linear without bias a random one, another each time,
# which bias=True, its default, asks for. Nothing is said. Padding and dilation are taken axis by axis, and a
# convolution without bias stays so. `decompose` keeps stride, pad and bias_term of each axis.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    torch==2.13.0 numpy==2.4.6 scipy==1.17.1 tensorly==0.10.0 tensorly-torch==0.5.0 packaging==26.4
cat > "$folder/look.py" <<'PYTHON'
from importlib.metadata import version

import torch
from tltorch import FactorizedConv, FactorizedLinear
from torch import nn

torch.manual_seed(0)
images, rows = torch.randn(2, 4, 9, 9), torch.randn(6, 16)


def look(name, layer, factorized, bottom):
    """Whether a layer and its factorization at full rank are one, but for rounding."""
    wanted, found = layer(bottom), factorized(bottom)
    if wanted.shape != found.shape:
        told = f"{tuple(wanted.shape)} becomes {tuple(found.shape)}"
    else:
        off = float((wanted - found).abs().max() / wanted.abs().max())
        told = "right" if off < 1e-4 else "other values" if off > 0.02 else off
    print(f"{name}: {told}")


def convolution(**fields):
    layer = nn.Conv2d(4, 4, 3, **fields)
    factorized = FactorizedConv.from_conv(layer, rank=(4, 4, 3, 3), factorization="tucker")
    name = ", ".join(f"{field} {value}" for field, value in fields.items())
    look(f"from_conv, {name}", layer, factorized, images)


print("tensorly-torch", version("tensorly-torch"))
convolution(stride=2)
convolution(stride=(2, 1))
convolution(stride=(1, 2))
convolution(padding=(1, 0))
convolution(dilation=(1, 2))
convolution(bias=False)
convolution(padding=1, padding_mode="circular")
for bias in (True, False):
    layer = nn.Linear(16, 8, bias=bias)
    kinds = dict(rank=1.0, factorization="Tucker", n_tensorized_modes=2)
    first, second = (FactorizedLinear.from_linear(layer, **kinds) for _ in range(2))
    look(f"from_linear, bias {bias}", layer, first, rows)
    print("two made of it have one bias:", torch.equal(first.bias, second.bias))
PYTHON
"$folder/env/bin/python" -W ignore "$folder/look.py" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
tensorly-torch 0.5.0
from_conv, stride 2: right
from_conv, stride (2, 1): (2, 4, 4, 7) becomes (2, 4, 4, 4)
from_conv, stride (1, 2): (2, 4, 7, 4) becomes (2, 4, 7, 7)
from_conv, padding (1, 0): right
from_conv, dilation (1, 2): right
from_conv, bias False: right
from_conv, padding 1, padding_mode circular: other values
from_linear, bias True: right
two made of it have one bias: True
from_linear, bias False: other values
two made of it have one bias: False
SEEN
