"""AlexNet on ImageNet: `python -m reproductions.alexnet.run --imagenet DIR`; `--list` shows the steps.

DIR holds ILSVRC2012 as published, see `caffe-compat data imagenet --help`. From the data to the rows of Tables 2, 3, 4
and 7 and Figures 6 and 7: the baseline, from it the force and the discrimination, from these the decomposed nets at
Table 4's ranks. An interrupted call goes on from its last snapshot. No strength of the force was published for this
net: those of the solvers are a place to start from. `python -m reproductions.speed` measures the speedups.

The filters of a group read other channels than those of the other group; the force acts within each group, as it did on
the authors' net, whose groups were layers of their own.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from reproductions.command import main
from reproductions.imagenet import BASELINE, forced, network
from reproductions.steps import LowRank, Step

PER_GROUP = ("--force-per-group",)
RANKS = {  # Table 4
    "baseline": {"conv3": 184, "conv4": 201, "conv5": 146},
    "l2": {"conv3": 124, "conv4": 106, "conv5": 129},
}
METHODS = {"pca": "PCA", "svd": "SVD", "kmeans": "k-means"}
ROWS = {"baseline": "none", "l2": "l2"}


def tuned(method: str, start: str, ranks_of: str, experiment: str, paper: tuple[str, ...]) -> Step:
    """A net decomposed at the ranks of Table 4, and fine-tuned."""
    step = "baseline" if start == "baseline" else f"force-{start}"
    name = f"{experiment.replace(' ', '-')}-{start}-{method}"
    low_rank = LowRank(method, ranks=RANKS[ranks_of])
    return Step(
        name, experiment, f"{start}, {method}", "solver_fine_tune.prototxt", start=step, low_rank=low_rank, paper=paper
    )


def table_3(method: str, start: str) -> Step:
    """A net of Table 3; decomposed by PCA it is Table 4's too, and with force Fig. 7's."""
    paper = [f"Table 3: AlexNet {ROWS[start]} {METHODS[method]}"]
    if method == "pca":
        paper.append(f"Table 4: AlexNet {ROWS[start]}")
        paper += ["Figure 7: AlexNet l2"] if start == "l2" else []
    return tuned(method, start, start, "fine-tune", tuple(paper))


STEPS = (
    replace(
        BASELINE,
        paper=("Table 2: AlexNet none", "Figure 6: AlexNet none", "Table 7: AlexNet none", "Table 6: AlexNet in Caffe"),
    ),
    forced("force", "l2", ("Table 2: AlexNet l2",), PER_GROUP),
    forced("force", "l1", ("Table 2: AlexNet l1",), PER_GROUP),
    forced("discrimination", "l2", ("Table 7: AlexNet l2 discrimination",), PER_GROUP),
    forced("discrimination", "l1", ("Table 7: AlexNet l1 discrimination",), PER_GROUP),
    *(table_3(method, start) for start in RANKS for method in METHODS),
    tuned("pca", "baseline", "l2", "same ranks", ("Figure 7: AlexNet none",)),
)
NETWORK = network("alexnet", STEPS, "accuracy", "accuracy_top5")

if __name__ == "__main__":
    sys.exit(main(NETWORK))
