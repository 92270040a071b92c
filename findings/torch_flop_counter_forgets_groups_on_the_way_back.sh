#!/usr/bin/env bash
# torch 2.13.0: torch.utils.flop_counter.FlopCounterMode counts the gradient of a grouped convolution's filters as that
# of one without groups, `groups` times too much; forward, and the gradient of the bottom, are right. A step that costs
# three times its forward pass counts as four for the two groups of AlexNet, and for a depthwise layer of 256 channels
# as 258. Transposed convolutions with groups too. Nothing is said; its source leaves groups out on purpose, its
# documentation does not tell. The multiply-adds that this package prints are of the forward pass.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$folder/look.py" <<'PYTHON'
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count(layer, bottom, backward):
    with FlopCounterMode(display=False) as counter:
        top = layer(bottom)
        if backward:
            top.sum().backward()
    return counter.get_total_flops()


def look(kind, channels, groups, bottom_has_gradient=True):
    """What the counter gives, as a multiple of 2 * the multiply-adds: of the forward pass, and of a step."""
    layer = kind(channels, channels, 3, padding=1, groups=groups, bias=False)
    bottom = torch.ones(2, channels, 8, 8, requires_grad=bottom_has_gradient)
    once = 2 * 2 * 8 * 8 * 9 * channels * channels // groups
    forward, step = (count(layer, bottom, backward) / once for backward in (False, True))
    gradient = "" if bottom_has_gradient else ", no gradient of the bottom"
    print(f"{kind.__name__}, {channels} channels, groups {groups}{gradient}: forward {forward:g}, step {step:g}")


print("torch", torch.__version__.split("+")[0])
for groups in (1, 2, 16, 256):
    look(nn.Conv2d, 256, groups)
look(nn.Conv2d, 256, 2, bottom_has_gradient=False)
look(nn.ConvTranspose2d, 256, 1)
look(nn.ConvTranspose2d, 256, 16)
PYTHON
"$folder/env/bin/python" "$folder/look.py" 2> /dev/null | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
torch 2.13.0
Conv2d, 256 channels, groups 1: forward 1, step 3
Conv2d, 256 channels, groups 2: forward 1, step 4
Conv2d, 256 channels, groups 16: forward 1, step 18
Conv2d, 256 channels, groups 256: forward 1, step 258
Conv2d, 256 channels, groups 2, no gradient of the bottom: forward 1, step 3
ConvTranspose2d, 256 channels, groups 1: forward 1, step 3
ConvTranspose2d, 256 channels, groups 16: forward 1, step 18
SEEN
