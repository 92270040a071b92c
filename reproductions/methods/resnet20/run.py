"""The methods on ResNet-20 and CIFAR-10.

`python -m reproductions.methods.resnet20.run --data CIFAR10 --models MODELS`; `--list` shows the steps.
"""

from __future__ import annotations

import sys

from reproductions.command import main
from reproductions.datasets import PADDED_CIFAR10, made_up_padded_cifar10, published_padded_cifar10
from reproductions.methods.network import network
from reproductions.methods.rivals import Budget
from reproductions.steps import PUBLIC

REAL = f"{PUBLIC}resnet20_cifar10/cifar10_res20_iter_64000.caffemodel"
NETWORK = network(
    "resnet20",
    Budget(200, 100, 448),
    REAL,
    (published_padded_cifar10, made_up_padded_cifar10, PADDED_CIFAR10),
    "Accuracy1",
    ("--precision", "bf16"),
)

if __name__ == "__main__":
    sys.exit(main(NETWORK))
