"""VGG16 on ImageNet: `python -m reproductions.vgg16.run --imagenet DIR`; `--list` shows the steps.

DIR holds ILSVRC2012 as published, see `caffe-compat data imagenet --help`. From the data to the rows: the baseline,
from it the force and the discrimination, then the nets decomposed at the ranks of 95 % energy, fine-tuned.
An interrupted call goes on from its last snapshot. No strength of the force was published for this net: those of the
solvers are a place to start from.
"""

from __future__ import annotations

import sys

from reproductions.command import main
from reproductions.imagenet import forced, network, steps_at_own_ranks

NETWORK = network("vgg16", steps_at_own_ranks(forced("force", "l2")), "accuracy", "accuracy_top5")

if __name__ == "__main__":
    sys.exit(main(NETWORK))
