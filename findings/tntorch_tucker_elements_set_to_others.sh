#!/usr/bin/env bash
# tntorch 1.1.2: to set elements of a tensor that has Tucker factors (ranks_tucker=..., round_tucker) takes out what
# stands at that place of the core, not of the tensor: t[1, 2, 3] = 7 reads as another number afterwards, and a filter
# set to 0 as another filter. So where the ranks are those of the sizes, as they are at first; with smaller ones an error
# tells. And round_tucker(eps) of a CP tensor exceeds eps, "this relative error will not be exceeded": it cuts as if the
# first factor were orthogonal in the middle of a train, which has an open end there. Terms that nearly cancel, as CP of
# filters is full of, make it many times eps. Nothing is said. TT tensors, and round_tt before round_tucker, are right.
# `decompose` computes Tucker itself, from the filters.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    torch==2.13.0 numpy==2.4.6 scipy==1.17.1 tntorch==1.1.2
cat > "$folder/look.py" <<'PYTHON'
from importlib.metadata import version

import tntorch
import torch

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
print("tntorch", version("tntorch"))
filters = torch.randn(4, 5, 6)


def look(name, tensor, place, value):
    """What stands where a value was set, and whether all else is as it was."""
    wanted = filters.clone()
    wanted[place] = value
    tensor[place] = value
    off = tensor.torch() - wanted
    there = told(off[place])
    off[place] = 0
    print(f"{name}, set to {value}: {there}; elsewhere {told(off)}")


def told(off):
    return "right" if off.abs().max() < 1e-9 else "other" if off.abs().max() > 0.1 else float(off.abs().max())


for name, kinds in {"TT": {"ranks_tt": 20}, "CP": {"ranks_cp": 30}, "Tucker": {"ranks_tucker": 6}}.items():
    start = tntorch.Tensor(filters, **kinds)
    assert (start.torch() - filters).abs().max() < 1e-8
    look(f"{name}, one element", start.clone(), (1, 2, 3), 7)
    look(f"{name}, one filter", start.clone(), (2,), 0)
rounded = tntorch.round_tucker(tntorch.Tensor(filters, ranks_tt=20))
look("TT and round_tucker, one element", rounded.clone(), (1, 2, 3), 7)
look("TT and round_tucker, one filter", rounded.clone(), (2,), 0)


def words(times):
    return "within" if times <= 1 else "many times as far off" if times > 5 else "too far off" if times > 2 else times


axes = [torch.randn(size, 6) for size in (16, 8, 9)]
for axis in axes:  # two terms that nearly cancel, each 30 times what stays of them
    axis[:, 1] = axis[:, 0] + 0.01 * axis[:, 1]
axes[0][:, 0] *= 30
axes[0][:, 1] *= -30
cp = tntorch.Tensor(axes)
train = tntorch.round_tt(cp, eps=1e-12)
full = cp.torch()
for eps in (0.01, 0.1, 0.3):
    for name, tensor in (("CP", cp), ("CP and round_tt", train)):
        found = tntorch.round_tucker(tensor, eps=eps)
        off = float((found.torch() - full).norm() / full.norm())
        print(f"{name}, round_tucker({eps}):", words(off / eps))
PYTHON
"$folder/env/bin/python" -W ignore "$folder/look.py" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
tntorch 1.1.2
TT, one element, set to 7: right; elsewhere right
TT, one filter, set to 0: right; elsewhere right
CP, one element, set to 7: right; elsewhere right
CP, one filter, set to 0: right; elsewhere right
Tucker, one element, set to 7: other; elsewhere right
Tucker, one filter, set to 0: other; elsewhere right
TT and round_tucker, one element, set to 7: other; elsewhere right
TT and round_tucker, one filter, set to 0: other; elsewhere right
CP, round_tucker(0.01): many times as far off
CP and round_tt, round_tucker(0.01): within
CP, round_tucker(0.1): many times as far off
CP and round_tt, round_tucker(0.1): within
CP, round_tucker(0.3): too far off
CP and round_tt, round_tucker(0.3): within
SEEN
