"""The methods on ResNet-20 and CIFAR-10.

`python -m reproductions.methods.resnet20.run --data CIFAR10 --models MODELS`; `--list` shows the steps. On one core of
a processor without bf16 an iteration takes 0.4 s and a test 13 s, so a row some three minutes; `--first 24`: 14 rows.
"""

from __future__ import annotations

import sys

from reproductions.command import main
from reproductions.datasets import PADDED_CIFAR10, made_up_padded_cifar10, published_padded_cifar10
from reproductions.methods.network import PLAIN, network
from reproductions.methods.rivals import Budget
from reproductions.steps import PUBLIC

REAL = f"{PUBLIC}resnet20_cifar10/cifar10_res20_iter_64000.caffemodel"
# What a short run shows: three draws of the net unpruned and cut at random, and one row of each kind of method.
FIRST = (
    (PLAIN, 1),
    ("L1-norm filters", 1),
    ("random filters", 1),
    ("force, l2", 1),
    ("force, l1", 1),
    ("SFP", 1),
    ("GReg-1", 1),
    ("OrthoReg, fisher", 1),
    ("Group Fisher", 1),
    ("trained rank pruning", 1),
    (PLAIN, 2),
    ("random filters", 2),
    (PLAIN, 3),
    ("random filters", 3),
)
NETWORK = network(
    "resnet20",
    Budget(200, 100, 448),
    REAL,
    (published_padded_cifar10, made_up_padded_cifar10, PADDED_CIFAR10),
    "Accuracy1",
    first=FIRST,
    lightened=True,
)

if __name__ == "__main__":
    sys.exit(main(NETWORK))
