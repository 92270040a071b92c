"""LeNet on MNIST: `python -m reproductions.lenet.run --data MNIST`; `--list` shows the steps.

The l1 force at 1e-3 is the authors' own example; weaker ones stand beside it. All from scratch, 10,000 iterations as
published.
"""

from __future__ import annotations

import sys

from reproductions.command import main
from reproductions.datasets import MNIST, made_up_mnist, published_mnist
from reproductions.steps import LowRank, Network, Step

STEPS = (
    *(
        Step(f"{method}-seed{seed}", "from scratch", method, f"solver_{file}.prototxt", seed=seed)
        for seed in (1, 2, 3)
        for method, file in (("baseline", "baseline"), ("l1", "force_l1"))
    ),
    *(
        Step(
            f"l1-{decay}-seed1",
            "from scratch",
            "l1",
            "solver_force_l1.prototxt",
            f"force_decay: {decay}",
            note="below the published strength, at which both convolutions fall to rank one",
        )
        for decay in ("5e-5", "1e-4", "2e-4", "5e-4")
    ),
    Step("l2-seed1", "from scratch", "l2", "solver_force_l2.prototxt"),
    Step("discrimination-seed1", "from scratch", "l1 discrimination", "solver_discrimination.prototxt"),
    *(
        Step(
            f"finetune-{start}",
            "decompose",
            f"{start}, PCA",
            "solver_finetune.prototxt",
            start=f"{start}-seed1",
            low_rank=LowRank(),
        )
        for start in ("baseline", "l1")
    ),
)

NETWORK = Network("lenet", STEPS, published_mnist, made_up_mnist, "accuracy", MNIST)

if __name__ == "__main__":
    sys.exit(main(NETWORK))
