"""What the networks of ImageNet have in common: their steps from the baseline on, and where their data come from."""

from __future__ import annotations

from reproductions.datasets import IMAGENET, made_up_imagenet, published_imagenet
from reproductions.steps import LowRank, Network, Step

BASELINE = Step("baseline", "baseline", "baseline", "solver_baseline.prototxt")


def forced(kind: str, norm: str, paper: tuple[str, ...] = (), options: tuple[str, ...] = ()) -> Step:
    """The force, or with the other sign the discrimination, from the baseline; options: further ones of `solve`."""
    name, method = f"{kind}-{norm}", norm if kind == "force" else f"{norm} {kind}"
    solver = f"solver_{kind}_{norm}.prototxt"
    return Step(name, kind, method, solver, start="baseline", paper=paper, options=options)


def steps_at_own_ranks(force_l2: Step) -> tuple[Step, ...]:
    """Baseline, forces, discriminations; then the nets decomposed at their ranks of 95 % energy, and fine-tuned."""
    others = (forced("force", "l1"), forced("discrimination", "l2"), forced("discrimination", "l1"))
    tuned = (
        Step(f"fine-tune-{method}", "fine-tune", method, "solver_fine_tune.prototxt", start=start, low_rank=LowRank())
        for method, start in (("baseline", "baseline"), ("l2", "force-l2"), ("l1", "force-l1"))
    )
    return (BASELINE, force_l2, *others, *tuned)


def network(name: str, steps: tuple[Step, ...], top1: str, top5: str) -> Network:
    """The network whose folder is `name`; top1, top5: its accuracies' blobs."""
    return Network(
        name,
        steps,
        published_imagenet,
        made_up_imagenet,
        top1,
        IMAGENET,
        top5=top5,
        suffix="",
        narrow=8,
        source="--imagenet DIR",
    )
