#!/usr/bin/env bash
# Counters of multiply-adds for PyTorch: a transposed convolution (Caffe's Deconvolution) takes each pixel of its bottom
# once a weight; thop 0.1.1, torchinfo 1.8.0 and torch-pruning 1.6.1 count each pixel of the top, stride * stride times
# too much: 4 times for an upsampling by 2, 64 times by 8. A layer under weight_norm or spectral_norm of
# torch.nn.utils.parametrizations, and a class derived from Conv2d, count as 0 in thop, ptflops 0.7.5 and torch-pruning;
# torchinfo has 0 for the first and one pixel for the second, and one row for a Linear over many. Nothing is said.
# fvcore 0.1.5 and PyTorch's FlopCounterMode have all of these right. This package counts by the bottom (print(net),
# `show`), and the layers of its nets are of classes that the first four do not know.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 \
    thop==0.1.1.post2209072238 torchinfo==1.8.0 torch-pruning==1.6.1 ptflops==0.7.5 fvcore==0.1.5.post20221221
cat > "$folder/look.py" <<'PYTHON'
import contextlib
import copy
import io

import ptflops
import thop
import torch
import torch_pruning
import torchinfo
from fvcore.nn import FlopCountAnalysis
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.flop_counter import FlopCounterMode


class Own(nn.Conv2d):
    pass


def flop_counter(net, bottom):
    with FlopCounterMode(display=False) as counter:
        net(bottom)
    return counter.get_total_flops() / 2  # a multiply-add is two


def quiet_ptflops(net, bottom):
    with contextlib.redirect_stdout(io.StringIO()):
        return ptflops.get_model_complexity_info(net, tuple(bottom.shape[1:]), as_strings=False)[0]


COUNTERS = {
    "thop": lambda net, bottom: thop.profile(net, inputs=(bottom,), verbose=False)[0],
    "ptflops": quiet_ptflops,
    "torchinfo": lambda net, bottom: torchinfo.summary(net, input_data=bottom, verbose=0).total_mult_adds,
    "torch-pruning": lambda net, bottom: torch_pruning.utils.count_ops_and_params(net, bottom)[0],
    "fvcore": lambda net, bottom: FlopCountAnalysis(net, bottom).total(),
    "FlopCounterMode": flop_counter,
}


def look(name, layer, shape, wanted):
    """What each counts for one image, as a multiple of the multiply-adds that there are."""
    counts = {}
    for counter, count in COUNTERS.items():
        found = float(count(nn.Sequential(copy.deepcopy(layer)).eval(), torch.ones(1, *shape))) / wanted
        counts.setdefault(f"{found:g}", []).append(counter)
    print(f"{name}:", "; ".join(f"{times} times by {', '.join(by)}" for times, by in counts.items()))


def convolution(kind=nn.Conv2d, **fields):
    return kind(3, 4, 3, padding=1, bias=False, **fields)


MULTIPLY_ADDS = 16 * 16 * 3 * 4 * 9  # of 3 channels of 16x16 to 4, by windows of 3x3
look("Conv2d", convolution(), (3, 16, 16), MULTIPLY_ADDS)
look("Conv2d, dilation 2", nn.Conv2d(3, 4, 3, padding=2, dilation=2, bias=False), (3, 16, 16), MULTIPLY_ADDS)
for stride in (1, 2, 8):
    layer = nn.ConvTranspose2d(3, 4, 3 * stride, stride, padding=stride, bias=False)
    look(f"ConvTranspose2d, stride {stride}", layer, (3, 16, 16), MULTIPLY_ADDS * stride * stride)
for wrap in (parametrizations.weight_norm, parametrizations.spectral_norm):
    look(f"Conv2d, {wrap.__name__}", wrap(convolution()), (3, 16, 16), MULTIPLY_ADDS)
look("a class of Conv2d", convolution(Own), (3, 16, 16), MULTIPLY_ADDS)
look("Linear", nn.Linear(16, 5, bias=False), (16,), 16 * 5)
look("Linear, 12 rows", nn.Linear(16, 5, bias=False), (12, 16), 12 * 16 * 5)
PYTHON
"$folder/env/bin/python" -W ignore "$folder/look.py" 2> /dev/null | grep " times by " | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
Conv2d: 1 times by thop, ptflops, torchinfo, torch-pruning, fvcore, FlopCounterMode
Conv2d, dilation 2: 1 times by thop, ptflops, torchinfo, torch-pruning, fvcore, FlopCounterMode
ConvTranspose2d, stride 1: 1 times by thop, ptflops, torchinfo, torch-pruning, fvcore, FlopCounterMode
ConvTranspose2d, stride 2: 4 times by thop, torchinfo, torch-pruning; 1 times by ptflops, fvcore, FlopCounterMode
ConvTranspose2d, stride 8: 64 times by thop, torchinfo, torch-pruning; 1 times by ptflops, fvcore, FlopCounterMode
Conv2d, weight_norm: 0 times by thop, ptflops, torchinfo, torch-pruning; 1 times by fvcore, FlopCounterMode
Conv2d, spectral_norm: 0 times by thop, ptflops, torchinfo, torch-pruning; 1 times by fvcore, FlopCounterMode
a class of Conv2d: 0 times by thop, ptflops, torch-pruning; 0.00390625 times by torchinfo; 1 times by fvcore, FlopCounterMode
Linear: 1 times by thop, ptflops, torchinfo, torch-pruning, fvcore, FlopCounterMode
Linear, 12 rows: 1 times by thop, ptflops, torch-pruning, fvcore, FlopCounterMode; 0.0833333 times by torchinfo
SEEN
