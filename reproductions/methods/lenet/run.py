"""The methods on LeNet and MNIST.

`python -m reproductions.methods.lenet.run --data MNIST --models MODELS`; `--list` shows the steps.
"""

from __future__ import annotations

import sys

from reproductions.command import main
from reproductions.datasets import MNIST, made_up_mnist, published_mnist
from reproductions.methods.network import network
from reproductions.methods.rivals import Budget
from reproductions.steps import PUBLIC

REAL = f"{PUBLIC}lenet/lenet_iter_10000.caffemodel"
NETWORK = network("lenet", Budget(300, 150, 70, ("ip1",)), REAL, (published_mnist, made_up_mnist, MNIST))

if __name__ == "__main__":
    sys.exit(main(NETWORK))
