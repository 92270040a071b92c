"""ResNet-20 on CIFAR-10: `python -m reproductions.resnet20.run --data CIFAR10 --models MODELS`; `--list` shows steps.

The steps named full-* have the published schedule, 64,000 iterations of 128 images. The others are shortened, and say
so: 1,000 iterations from scratch or from the public model (8.19 % error).
"""

from __future__ import annotations

import sys

from reproductions.command import main
from reproductions.datasets import PADDED_CIFAR10, made_up_padded_cifar10, published_padded_cifar10
from reproductions.steps import PUBLIC, LowRank, Network, Step

REAL = f"{PUBLIC}resnet20_cifar10/cifar10_res20_iter_64000.caffemodel"
BF16 = ("--precision", "bf16")
SHORTENED = "shortened: 1,000 iterations from the public model; precision bf16"


def short(name: str, method: str, settings: str = "", paper: tuple[str, ...] = (), note: str = SHORTENED) -> Step:
    """A shortened run from the public model."""
    return Step(
        name, "shortened", method, "solver_short.prototxt", settings, REAL, paper=paper, note=note, options=BF16
    )


def force(decay: str) -> str:
    return f'force_type: "Degradation" force_decay: {decay}'


STEPS = (
    short("none", "none"),
    short("l2-2e-3", "l2", force("2e-3"), note=f"{SHORTENED}; far too strong, the net collapses"),
    short("l2-2e-4", "l2", force("2e-4"), ("Figure 5: ResNet-20 l2",)),
    short("discrimination-1e-4", "l2 discrimination", force("-1e-4"), ("Table 7: ResNet-20 l2 discrimination",)),
    Step(
        "baseline-short",
        "shortened",
        "baseline",
        "solver_short_baseline.prototxt",
        note="shortened: 1,000 iterations from scratch; precision bf16",
        options=BF16,
    ),
    Step(
        "finetune-l2",
        "decompose",
        "l2, PCA",
        "solver_finetune.prototxt",
        "",
        "l2-2e-4",
        LowRank(),
        note=SHORTENED,
        options=BF16,
    ),
    *(
        Step(f"full-{name}", "published schedule", method, f"solver_{file}.prototxt")
        for name, method, file in (
            ("baseline", "baseline", "baseline"),
            ("l2", "l2", "force_l2"),
            ("l1", "l1", "force_l1"),
            ("discrimination", "l2 discrimination", "discrimination"),
        )
    ),
)

NETWORK = Network("resnet20", STEPS, published_padded_cifar10, made_up_padded_cifar10, "Accuracy1", PADDED_CIFAR10)

if __name__ == "__main__":
    sys.exit(main(NETWORK))
