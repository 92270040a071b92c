"""ConvNet on CIFAR-10: `python -m reproductions.convnet.run --data CIFAR10 --models MODELS`; `--list` shows the steps.

All but the baselines start from the public cifar10_full (17.82 % error; ranks 16, 26, 54 of 32, 32, 64), so that a run
costs minutes and not hours: the authors' solver trains 240,000 iterations. A shortened run has 2,500 at the first
learning rate, 900 at a tenth and 600 at a hundredth. For as much effect in less time the force must be stronger, and
the loss has less time to answer it: see `long` for what patience gives.
"""

from __future__ import annotations

import sys
from typing import Any

from reproductions.command import main
from reproductions.datasets import CIFAR10, made_up_cifar10, published_cifar10
from reproductions.steps import PUBLIC, Network, Step

REAL = f"{PUBLIC}cifar10_full_h5/cifar10_full_iter_100000.caffemodel.h5"
FORCES = {"l1": "Constant", "l2": "Degradation"}
SHORT = "shortened: 4,000 iterations from the public model"
BF16 = ("--precision", "bf16")
SIX = "stepvalue: 4000 stepvalue: {} max_iter: 6000"


def short(name: str, experiment: str, method: str, settings: str = "", **more: Any) -> Step:
    """A run from the public model, shortened to 4,000 iterations unless `settings` say otherwise."""
    more = {"note": SHORT, **more}
    return Step(name, experiment, method, "solver_short.prototxt", settings, REAL, **more)


def forced(method: str, decay: str, seed: int = 1, suffix: str = "", settings: str = "", **more: Any) -> Step:
    """A shortened run with force."""
    name = f"{method}-{decay}{suffix}" + (f"-seed{seed}" if seed > 1 else "")
    force = f'force_type: "{FORCES[method]}" force_decay: {decay} {settings}'.strip()
    more = {"experiment": "sweep", "paper": (f"Table 2: ConvNet {method}",), **more}
    return short(name, method=method, settings=force, seed=seed, **more)


def six(method: str, decay: str, step: int) -> Step:
    """A first look: 4,000 iterations at the first learning rate, and 2,000 of which the last from `step` on."""
    note = "shortened: 6,000 iterations from the public model"
    return forced(method, decay, suffix="-6k", settings=SIX.format(step), note=note)


def trunk(method: str, decay: str, length: int = 14000, seed: int = 1, **more: Any) -> Step:
    """A long run at the first learning rate, whose snapshots are where `branch` begins."""
    settings = f"max_iter: {length}"
    name = "-".join(["trunk", method, decay][: 3 if decay else 2]) + (f"-seed{seed}" if seed > 1 else "")
    if decay:
        settings += f' force_type: "{FORCES[method]}" force_decay: {decay}'
    more = {"note": "at the first learning rate only, from the public model; precision bf16", **more}
    solver = "solver_trunk.prototxt"
    return Step(name, "trunk", method, solver, settings, REAL, seed=seed, options=BF16, keep_last=99, **more)


def branch(of: Step, at: int, experiment: str = "branch", **more: Any) -> Step:
    """The learning rate falls, without force: 3,000 iterations at a tenth, 1,000 at a hundredth."""
    name = f"{of.name.removeprefix('trunk-')}-from{at}"
    more = {"note": f"{at:,} iterations with force, 4,000 without it as the learning rate falls; bf16", **more}
    start = f"{of.name}@{at}"
    return Step(name, experiment, of.method, "solver_branch.prototxt", "", start, seed=of.seed, options=BF16, **more)


BASELINES = (
    Step(
        "baseline-seed1",
        "baseline",
        "baseline",
        "solver_cifar10_full.prototxt",
        note="from scratch, the schedule of Caffe's cifar10_full: 60,000, 5,000 and 5,000 iterations",
        paper=("Table 2: ConvNet none",),
    ),
    *(
        Step(f"{name}-240k", "published schedule", method, f"solver_{file}.prototxt", note="from scratch")
        for name, method, file in (
            ("baseline", "baseline", "baseline"),
            ("l2", "l2", "force_l2"),
            ("l1", "l1", "force_l1"),
            ("discrimination", "l2 discrimination", "discrimination"),
        )
    ),
)
SWEEP = (
    short("none", "sweep", "none"),
    *(forced("l2", decay) for decay in ("1.2e-3", "1.6e-3", "2e-3", "2.5e-3")),
    *(forced("l1", decay) for decay in ("1.2e-3", "1.6e-3", "2e-3", "2.5e-3")),
    six("l2", "6e-4", 5500),
    six("l2", "1e-3", 5200),
    six("l1", "6e-4", 5500),
    six("l1", "1.2e-3", 5200),
)

TRUNKS = (trunk("l2", "6.5e-4"), trunk("l1", "8e-4"))

NETWORK = Network("convnet", (*BASELINES, *SWEEP, *TRUNKS), published_cifar10, made_up_cifar10, "accuracy", CIFAR10)

if __name__ == "__main__":
    sys.exit(main(NETWORK))
