"""The methods on cifar10_full and CIFAR-10.

`python -m reproductions.methods.convnet.run --data CIFAR10 --models MODELS`; `--list` shows the steps.
"""

from __future__ import annotations

import sys

from reproductions.command import main
from reproductions.datasets import CIFAR10, made_up_cifar10, published_cifar10
from reproductions.methods.network import network
from reproductions.methods.rivals import Budget
from reproductions.steps import PUBLIC

REAL = f"{PUBLIC}cifar10_full_h5/cifar10_full_iter_100000.caffemodel.h5"
NETWORK = network("convnet", Budget(300, 150, 128), REAL, (published_cifar10, made_up_cifar10, CIFAR10))

if __name__ == "__main__":
    sys.exit(main(NETWORK))
