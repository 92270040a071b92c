#!/usr/bin/env bash
# torch-pruning 1.6.1 takes filters away, and with them the channels that they fed in the layers behind; but others
# where the maps stand behind the net's own input in a torch.cat, which has no layer and counts as nothing; behind a
# channel shuffle (ShuffleNet), by view or F.channel_shuffle, where the places of before are taken; and in a Linear
# behind permute and flatten. Filters that are all 0, which nobody can miss, then change the net. Nothing is said,
# check_pruning_group is True, and all shapes fit. Maps in front of the input, cat of maps, and flatten without permute
# are right. `prune` compares every blob of the same shape with the net whose filters are only masked.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    torch==2.13.0 numpy==2.4.6 torch-pruning==1.6.1
cat > "$folder/look.py" <<'PYTHON'
from importlib.metadata import version

import torch
import torch_pruning
from torch import nn
from torch.nn import functional

DEAD = [1, 5]  # of the 8 filters of the first layer: without weights and bias
torch.manual_seed(0)


class Net(nn.Module):
    """Eight filters and a ReLU, what stands between, and a layer behind."""

    def __init__(self, between, last):
        super().__init__()
        self.first, self.last, self.between = nn.Conv2d(3, 8, 3, padding=1), last, between
        with torch.no_grad():
            self.first.weight[DEAD], self.first.bias[DEAD] = 0, 0

    def forward(self, image):
        return self.last(self.between(self.first(image).relu(), image))


def by_view(maps, image):
    count, _, height, width = maps.shape
    return maps.view(count, 2, -1, height, width).transpose(1, 2).reshape(count, -1, height, width)


def look(name, between, channels):
    last = nn.Linear(channels * 36, 4) if "flatten" in name else nn.Conv2d(channels, 4, 3)
    net, image = Net(between, last).eval(), torch.randn(2, 3, 6, 6)
    wanted = net(image)
    graph = torch_pruning.DependencyGraph().build_dependency(net, example_inputs=image)
    group = graph.get_pruning_group(net.first, torch_pruning.prune_conv_out_channels, idxs=DEAD)
    assert graph.check_pruning_group(group)
    group.prune()
    top = net(image)
    assert net.first.out_channels == 6 and top.shape == wanted.shape
    off = float((top - wanted).abs().max() / wanted.abs().max())
    print(f"{name}: {'equal' if off < 1e-5 else 'another net' if off > 0.1 else off}")


print("torch-pruning", version("torch-pruning"))
look("nothing", lambda maps, image: maps, 8)
look("cat of maps and maps", lambda maps, image: torch.cat([maps, maps], 1), 16)
look("cat of maps and image", lambda maps, image: torch.cat([maps, image], 1), 11)
look("cat of image and maps", lambda maps, image: torch.cat([image, maps], 1), 11)
look("channel_shuffle", lambda maps, image: functional.channel_shuffle(maps, 2), 8)
look("shuffle by view", by_view, 8)
look("flatten", lambda maps, image: maps.flatten(1), 8)
look("permute, flatten", lambda maps, image: maps.permute(0, 2, 3, 1).flatten(1), 8)
PYTHON
"$folder/env/bin/python" -W ignore "$folder/look.py" 2> /dev/null | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
torch-pruning 1.6.1
nothing: equal
cat of maps and maps: equal
cat of maps and image: equal
cat of image and maps: another net
channel_shuffle: another net
shuffle by view: another net
flatten: equal
permute, flatten: another net
SEEN
