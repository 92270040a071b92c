#!/usr/bin/env bash
# torch 2.13.0 folds a BatchNorm into the convolution before it, and where that is one module that runs twice, as in
# Siamese nets and tied layers, into both of its runs: fuse of torch.fx.experimental.optimization, and fuse_fx and
# convert_fx of torch.ao.quantization. The other run, which has another BatchNorm behind it, or none, comes out wrong;
# with two BatchNorms both are folded into the same filters. And a Linear before a BatchNorm1d, on three axes: that one
# normalises the second axis, Linear writes the third; where the two are of one size the wrong one is scaled, there by
# torch.jit.freeze and the eager fuse_modules too, and of other sizes an error tells. Nothing is said. torch.jit.freeze
# leaves shared convolutions alone. Two convolutions that share the Parameter are right everywhere, and so does `export
# --format torch` write layers that share by `param`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$folder/look.py" <<'PYTHON'
import copy

import torch
from torch import nn
from torch.ao.quantization import fuse_modules, get_default_qconfig_mapping, quantize_fx
from torch.fx.experimental.optimization import fuse

torch.backends.quantized.engine = "fbgemm"
torch.manual_seed(0)


def batch_norm(kind):
    layer = kind(3)
    nn.init.uniform_(layer.weight, 0.5, 2)
    layer.running_mean.uniform_(-1, 1)
    layer.running_var.uniform_(0.5, 3)
    return layer


class Twice(nn.Module):
    """A convolution, a BatchNorm, a convolution: the same one, or another with the same filters."""

    def __init__(self, shared, norms):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3)
        self.second = self.first if shared else nn.Conv2d(3, 3, 3)
        self.second.weight, self.second.bias = self.first.weight, self.first.bias
        self.norm = batch_norm(nn.BatchNorm2d)
        self.last = batch_norm(nn.BatchNorm2d) if norms == 2 else nn.Identity()

    def forward(self, bottom):
        return self.last(self.second(self.norm(self.first(bottom))))


def quantised(net, bottom):
    prepared = quantize_fx.prepare_fx(net, get_default_qconfig_mapping("fbgemm"), (bottom,))
    prepared(bottom)
    return quantize_fx.convert_fx(prepared)


WAYS = {
    "fx fuse": lambda net, bottom: fuse(net),
    "fuse_fx": lambda net, bottom: quantize_fx.fuse_fx(net),
    "convert_fx": quantised,
    "jit.freeze": lambda net, bottom: torch.jit.freeze(torch.jit.trace(net, bottom)),
    "fuse_modules": lambda net, bottom: fuse_modules(net, ["0", "1"]),
}


@torch.no_grad()
def look(name, net, bottom, ways):
    wanted = net.eval()(bottom)
    told = []
    for way in ways:
        off = (WAYS[way](copy.deepcopy(net), bottom)(bottom) - wanted).abs().max() / wanted.abs().max()
        told.append(f"{way} {'wrong' if off > 0.2 else 'right' if off < 0.05 else float(off)}")
    print(f"{name}:", ", ".join(told))


print("torch", torch.__version__.split("+")[0])
images = torch.randn(2, 3, 9, 9)
for norms in (1, 2):
    for shared in (True, False):
        kind = "one convolution twice" if shared else "two with one Parameter"
        look(f"{kind}, BatchNorms {norms}", Twice(shared, norms), images, list(WAYS)[:4])
linear = nn.Sequential(nn.Linear(5, 3), batch_norm(nn.BatchNorm1d))
look("Linear of two axes", linear, torch.randn(6, 5), WAYS)
look("Linear of three axes", linear, torch.randn(6, 3, 5), WAYS)
PYTHON
"$folder/env/bin/python" -W ignore "$folder/look.py" 2> /dev/null | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
torch 2.13.0
one convolution twice, BatchNorms 1: fx fuse wrong, fuse_fx wrong, convert_fx wrong, jit.freeze right
two with one Parameter, BatchNorms 1: fx fuse right, fuse_fx right, convert_fx right, jit.freeze right
one convolution twice, BatchNorms 2: fx fuse wrong, fuse_fx wrong, convert_fx wrong, jit.freeze right
two with one Parameter, BatchNorms 2: fx fuse right, fuse_fx right, convert_fx right, jit.freeze right
Linear of two axes: fx fuse right, fuse_fx right, convert_fx right, jit.freeze right, fuse_modules right
Linear of three axes: fx fuse wrong, fuse_fx wrong, convert_fx wrong, jit.freeze wrong, fuse_modules wrong
SEEN
