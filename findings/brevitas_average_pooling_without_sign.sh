#!/usr/bin/env bash
# brevitas 0.13.4: quantize() of brevitas.graph gives the top of an AvgPool2d, or of F.avg_pool2d, an unsigned quantiser
# where the pooling stands behind a Conv2d, a BatchNorm2d or a Dropout, whose values have signs: what is below 0 comes
# out as 0, as if a ReLU stood there. Behind ReLU that is right, and behind Tanh or LeakyReLU, and for
# AdaptiveAvgPool2d, it takes a signed one. And preprocess_for_quantize(), which comes before, folds a BatchNorm into a
# Conv2d that runs twice, for both of its runs. Nothing is said. DenseNets pool behind a bare convolution in each
# transition, PyTorch's as well as Caffe's, and lose all negative values there.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    torch==2.13.0 numpy==2.4.6 brevitas==0.13.4
cat > "$folder/look.py" <<'PYTHON'
import copy
from importlib.metadata import version

import torch
from brevitas.graph.calibrate import calibration_mode
from brevitas.graph.quantize import preprocess_for_quantize, quantize
from torch import nn

torch.manual_seed(0)
images = torch.randn(2, 3, 8, 8)


class Function(nn.Module):
    def forward(self, bottom):
        return nn.functional.avg_pool2d(bottom, 2)


class Twice(nn.Module):
    """A convolution, a BatchNorm, and the same convolution."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.norm.running_mean.uniform_(-1, 1)
        self.norm.running_var.uniform_(0.1, 0.5)

    def forward(self, bottom):
        return self.convolution(self.norm(self.convolution(bottom)))


@torch.no_grad()
def look(*layers):
    """The smallest value of the top, and that of the quantised net."""
    net = nn.Sequential(nn.Conv2d(3, 3, 1), *layers).eval()
    wanted = net(images)
    quantised = quantize(preprocess_for_quantize(net))
    with calibration_mode(quantised):
        quantised(images)
    top = quantised.eval()(images)
    ends = ("least", wanted.min()), ("quantised", top.min())
    names = " ".join(["Conv2d", *(type(layer).__name__ for layer in layers)])
    told = (f"{kind} {'below 0' if least < -0.1 else 'not below 0'}" for kind, least in ends)
    print(f"{names}:", ", ".join(told))


print("brevitas", version("brevitas"))
look()
look(nn.AvgPool2d(2))
look(Function())
look(nn.BatchNorm2d(3), nn.AvgPool2d(2))
look(nn.Dropout(), nn.AvgPool2d(2))
look(nn.AvgPool2d(8), nn.Flatten())
look(nn.AdaptiveAvgPool2d(1), nn.Flatten())
look(nn.Tanh(), nn.AvgPool2d(2))
look(nn.LeakyReLU(0.5), nn.AvgPool2d(2))
look(nn.ReLU(), nn.AvgPool2d(2))
with torch.no_grad():
    net = Twice().eval()
    wanted, folded = net(images), preprocess_for_quantize(copy.deepcopy(net)).eval()(images)
off = float((folded - wanted).abs().max() / wanted.abs().max())
print("a convolution twice, before quantising:", "wrong" if off > 0.2 else "right" if off < 1e-4 else off)
PYTHON
"$folder/env/bin/python" -W ignore "$folder/look.py" 2> /dev/null | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
brevitas 0.13.4
Conv2d: least below 0, quantised below 0
Conv2d AvgPool2d: least below 0, quantised not below 0
Conv2d Function: least below 0, quantised not below 0
Conv2d BatchNorm2d AvgPool2d: least below 0, quantised not below 0
Conv2d Dropout AvgPool2d: least below 0, quantised not below 0
Conv2d AvgPool2d Flatten: least below 0, quantised not below 0
Conv2d AdaptiveAvgPool2d Flatten: least below 0, quantised below 0
Conv2d Tanh AvgPool2d: least below 0, quantised below 0
Conv2d LeakyReLU AvgPool2d: least below 0, quantised below 0
Conv2d ReLU AvgPool2d: least not below 0, quantised not below 0
a convolution twice, before quantising: wrong
SEEN
