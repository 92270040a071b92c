"""VGG16 on ImageNet: `python -m reproductions.vgg16.run --imagenet DIR`; `--list` shows the steps.

DIR holds ILSVRC2012 as published, see `caffe-compat data imagenet --help`. From the data to the rows: the baseline,
from it the force and the discrimination, then the nets decomposed at the ranks of 95 % energy, fine-tuned.
An interrupted call goes on from its last snapshot. No strength of the force was published for this net: those of the
solvers are a place to start from.
"""

from __future__ import annotations

import sys

from reproductions.command import main
from reproductions.datasets import IMAGENET, made_up_imagenet, published_imagenet
from reproductions.steps import LowRank, Network, Step


def forced(kind: str, norm: str, paper: tuple[str, ...] = ()) -> Step:
    """The force, or with the other sign the discrimination, from the baseline."""
    method = norm if kind == "force" else f"{norm} {kind}"
    return Step(f"{kind}-{norm}", kind, method, f"solver_{kind}_{norm}.prototxt", start="baseline", paper=paper)


def tuned(method: str, start: str) -> Step:
    """The net of a step decomposed at its own ranks, and fine-tuned."""
    name = f"fine-tune-{method}"
    return Step(name, "fine-tune", method, "solver_fine_tune.prototxt", start=start, low_rank=LowRank())


STEPS = (
    Step("baseline", "baseline", "baseline", "solver_baseline.prototxt"),
    forced("force", "l2"),
    forced("force", "l1"),
    forced("discrimination", "l2"),
    forced("discrimination", "l1"),
    tuned("baseline", "baseline"),
    tuned("l2", "force-l2"),
    tuned("l1", "force-l1"),
)
NETWORK = Network(
    "vgg16",
    STEPS,
    published_imagenet,
    made_up_imagenet,
    "accuracy",
    IMAGENET,
    top5="accuracy_top5",
    suffix="",
    narrow=8,
    source="--imagenet DIR",
)

if __name__ == "__main__":
    sys.exit(main(NETWORK))
