"""ConvNet on CIFAR-10: `python -m reproductions.convnet.run --data CIFAR10 --models MODELS`; `--list` shows the steps.

The baselines and the runs `scratch` begin with the fillers and have Caffe's own 70,000 iterations; the authors' solver
trains 240,000. All others start from the public cifar10_full (17.82 % error; ranks 16, 26, 54 of 32, 32, 64), or from
one of these runs, so that a run costs minutes and not hours: for as much effect in less time the force must be
stronger, and the loss has less time to answer it. A short run has 2,000 iterations at the first learning rate, 600 at a
tenth and 400 at a hundredth. A trunk stays at the first learning rate; branches begin at its snapshots, or at those of
a run from scratch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from reproductions.command import main
from reproductions.convnet import published
from reproductions.datasets import CIFAR10, hold_out_cifar10, made_up_cifar10, published_cifar10
from reproductions.steps import PUBLIC, LowRank, Network, Step

REAL = f"{PUBLIC}cifar10_full_h5/cifar10_full_iter_100000.caffemodel.h5"
FORCES = {"l1": "Constant", "l2": "Degradation"}
BF16 = ("--precision", "bf16")
SEEDS = (1, 2, 3)
FROM_SCRATCH = "from scratch, Caffe's own schedule: 60,000, 5,000 and 5,000 iterations"
FIRST_IN_FLOAT32: dict[str, Any] = {"note": f"{FROM_SCRATCH}; from 20,000 on precision bf16", "options": ()}
SHORT = "shortened: 3,000 iterations from the public model; precision bf16"


def short(name: str, experiment: str, method: str, settings: str = "", **more: Any) -> Step:
    """A run from the public model, shortened to 3,000 iterations unless `settings` say otherwise."""
    more = {"note": SHORT, "options": BF16, "baseline": "" if name.startswith("none") else "none", **more}
    return Step(name, experiment, method, "solver_short.prototxt", settings, REAL, **more)


def forced(force: str, decay: str, seed: int = 1, suffix: str = "", settings: str = "", **more: Any) -> Step:
    """A shortened run with force."""
    name = f"{force}-{decay}{suffix}" + (f"-seed{seed}" if seed > 1 else "")
    settings = f'force_type: "{FORCES[force]}" force_decay: {decay} {settings}'.strip()
    more = {"experiment": "sweep", "method": force, **more}
    return short(name, settings=settings, seed=seed, **more)


def six(method: str, decay: str, step: int) -> Step:
    """A first look: 4,000 iterations at the first learning rate, and 2,000 of which the last from `step` on."""
    settings = f"stepvalue: 4000 stepvalue: {step} max_iter: 6000"
    note = "shortened: 6,000 iterations from the public model"
    return forced(method, decay, suffix="-6k", settings=settings, note=note, options=(), baseline="")


def scratch(method: str, decay: str = "", seed: int = 1, **more: Any) -> Step:
    """A run from the fillers on, with force where it has a `decay`; the same seed begins with the same weights."""
    name = "-".join(filter(None, [f"scratch-{method}-{decay}" if decay else method, f"seed{seed}"]))
    if decay:
        table1 = ("Table 1: ConvNet scaler |W|",) if method == "l2" else ()
        more |= {"settings": f'force_type: "{FORCES[method]}" force_decay: {decay}', "keep_last": 99}
        more |= {"baseline": "baseline-seed1", "paper": (f"Table 2: ConvNet {method}", *table1)}
    more = {"note": f"{FROM_SCRATCH}; precision bf16", "options": BF16, "seed": seed, **more}
    solver = "solver_cifar10_full.prototxt"
    return Step(name, "from scratch" if decay else "baseline", method, solver, **more)


def trunk(method: str, decay: str, length: int = 12000, seed: int = 1, **more: Any) -> Step:
    """A long run at the first learning rate, whose snapshots are where `branch` begins."""
    settings = f"max_iter: {length}"
    name = "-".join(filter(None, ["trunk", method, decay])) + (f"-seed{seed}" if seed > 1 else "")
    if decay:
        settings += f' force_type: "{FORCES[method]}" force_decay: {decay}'
    more = {"note": "at the first learning rate only, from the public model; precision bf16", **more}
    solver = "solver_trunk.prototxt"
    return Step(name, "trunk", method, solver, settings, REAL, seed=seed, options=BF16, keep_last=99, **more)


def freed(of: Step, at: int, **more: Any) -> Step:
    """No force after `at` of 70,000 iterations; the learning rate falls at 61,000 (baseline: 60,000) and 66,000."""
    free = 61000 - at
    settings = f"base_lr: 1e-3 stepvalue: {free} stepvalue: {free + 5000} max_iter: {free + 9000}"
    note = f"{at:,} iterations with force, then {free:,} without it before the learning rate falls; from scratch"
    more = {"note": f"{note}; precision bf16", "options": BF16, "paper": of.paper, "baseline": of.baseline, **more}
    name, start = f"{of.name}-freed{at}", f"{of.name}@{at}"
    return Step(name, "freed", of.method, "solver_branch.prototxt", settings, start, seed=of.seed, **more)


def branch(of: Step, at: int, force: str = "", tenth: int = 3000, hundredth: int = 1000, **more: Any) -> Step:
    """The learning rate falls after `at` iterations of a longer run: `tenth` at a tenth, `hundredth` at a hundredth.

    force: its strength in the branch too; "" for none.
    """
    name = f"{of.name.removeprefix('trunk-')}-from{at}" + ("-forced" if force else "")
    settings = f"stepvalue: {tenth} max_iter: {tenth + hundredth}"
    settings += f' force_type: "{FORCES[of.method]}" force_decay: {force}' if force else ""
    first, then = "without" if of.method == "none" else "with", "with" if force else "without"
    note = f"{at:,} iterations {first} force, then {tenth + hundredth:,} {then} it as the learning rate falls; "
    note += "from the public model" if of.start else "from scratch"
    note += "; precision bf16"
    method = f"{of.method} to {at:,}" + (", force on" if force else "")
    more = {"note": note, "options": BF16, "paper": (f"Table 2: ConvNet {of.method}",), **more}
    more |= {"baseline": "" if of.method == "none" else "none-from4000" if of.start else "baseline-seed1"}
    start = f"{of.name}@{at}"
    return Step(name, "branch", method, "solver_branch.prototxt", settings, start, seed=of.seed, **more)


BASELINES = (
    Step(
        "public",
        "baseline",
        "public model",
        "solver_short.prototxt",
        "max_iter: 0 snapshot: 0",
        REAL,
        note="the public cifar10_full that the shortened runs start from, as it is",
        paper=("Table 1: ConvNet scaler 0 (baseline)", "Table 2: ConvNet none"),
    ),
    *(
        scratch("baseline", seed=seed, paper=("Table 2: ConvNet none",), **more)
        for seed, more in zip(SEEDS, (FIRST_IN_FLOAT32, {}, {}), strict=True)
    ),
    *published.FIRST,
)
SWEEP = (
    six("l2", "6e-4", 5500),
    six("l2", "1e-3", 5200),
    six("l1", "6e-4", 5500),
    six("l1", "1.2e-3", 5200),
    short("none", "sweep", "none"),
    short("none-fp32", "sweep", "none, fp32", note="shortened: 3,000 iterations from the public model", options=()),
    *(forced(method, decay) for method, decay in (("l2", "2e-3"), ("l1", "2e-3"), ("l1", "2.5e-3"))),
)
SCALER = (
    forced(
        "l2",
        "1.3e-3",
        suffix="-inverse",
        settings='force_scaler: "inverse_length"',
        experiment="scaler",
        method="l2, 1/|W|",
        paper=("Table 1: ConvNet scaler 1/|W|",),
    ),
)
TYPE = "spectral_decay_type"
RIVALS = (
    *(
        short(f"{kind}-{decay}", "rivals", f"{name} {float(decay):g}", f'spectral_decay: {decay} {TYPE}: "{kind}"')
        for kind, name, decay in (
            ("nuclear", "nuclear norm", "1e-2"),
            ("nuclear", "nuclear norm", "2e-2"),
            ("hoyer", "Hoyer", "1e-1"),
            ("hoyer", "Hoyer", "2e-1"),
        )
    ),
    short(
        "trained-rank",
        "rivals",
        "trained rank pruning, 98 % every 250",
        "rank_pruning_interval: 250 rank_pruning_keep: 0.98",
    ),
)
SCRATCH = (
    *(scratch("l2", decay) for decay in ("1e-4", "2e-4")),
    *(scratch("l2", "3e-4", seed) for seed in SEEDS),
    *(scratch("l1", "3e-4", seed) for seed in SEEDS),
)
TRUNKS = {
    **{("l2", seed): trunk("l2", "6.5e-4", 11000, seed) for seed in SEEDS},
    **{("l1", seed): trunk("l1", "8e-4", 8500, seed) for seed in SEEDS},
    ("none", 1): trunk("none", "", 4000),
    ("slow l2", 1): trunk("l2", "4.5e-4", 21500),
}
BRANCHES = (
    *(branch(TRUNKS["l2", seed], 11000) for seed in SEEDS),
    *(branch(TRUNKS["l1", seed], 8500) for seed in SEEDS),
    branch(TRUNKS["l2", 1], 10750, "6.5e-4"),
    branch(TRUNKS["l1", 1], 8250, "8e-4"),
    branch(TRUNKS["slow l2", 1], 21500),
    branch(TRUNKS["none", 1], 4000, paper=()),
    *(branch(step, 43000, tenth=5000, hundredth=5000) for step in SCRATCH if step.method == "l1"),
)
FREED = (*(freed(step, 56000) for step in SCRATCH if step.name in ("scratch-l1-3e-4-seed1", "scratch-l2-3e-4-seed1")),)
CHOSEN = BRANCHES[0].name  # the net with force that is decomposed, and whose ranks all decompositions share


def decomposed(start: str, method: str, seed: int = 1, paper: tuple[str, ...] = ()) -> Step:
    """The public model ("none") or the net with force ("force"), decomposed at the ranks of the latter; fine-tuned."""
    return Step(
        f"{start}-{method}" + (f"-seed{seed}" if seed > 1 else ""),
        "decompose",
        f"{start}, {method}",
        "solver_finetune.prototxt",
        start=REAL if start == "none" else CHOSEN,
        low_rank=LowRank(method, ranks_of=CHOSEN),
        seed=seed,
        options=BF16,
        note="600 iterations of fine-tuning at equal ranks; precision bf16",
        paper=paper,
    )


DECOMPOSED = (
    *(decomposed(start, method) for method in ("pca", "svd", "kmeans") for start in ("none", "force")),
    *(decomposed(start, "pca", seed) for seed in SEEDS[1:] for start in ("none", "force")),
)


def sparse(name: str, method: str, start: str, settings: str, edit: Callable[[Any], None]) -> Step:
    """A step of section 5.4: the decomposed net with force made sparse, or fine-tuned with its zeros frozen."""
    note = "precision bf16"
    solver = "solver_finetune.prototxt"
    return Step(name, "sparse", method, solver, settings, start, options=BF16, edit=edit, note=note)


def grouped(net: Any) -> None:
    """Group lasso on the filters and the shapes of every convolution."""
    for layer in net.layer:
        if layer.type == "Convolution":
            layer.param[0].breadth_decay_mult = layer.param[0].kernel_shape_decay_mult = 1


def even_decay(net: Any) -> None:
    """The same decay for ip1 as for the others, where cifar10_full has 250 times as much."""
    for layer in net.layer:
        if layer.name == "ip1":
            layer.param[0].decay_mult = 1


def frozen(mode: str) -> Callable[[Any], None]:
    """Zeros stay zeros: ELTWISE one by one, GRPWISE whole filters and shapes."""

    def edit(net: Any) -> None:
        for layer in net.layer:
            if layer.type in ("Convolution", "InnerProduct"):
                layer.connectivity_mode = getattr(layer, f"DISCONNECTED_{mode}")

    return edit


SPARSER = "base_lr: 1e-3 lr_policy: 'fixed' stepvalue: 999 max_iter: 1000 prune_threshold: 1e-4"


def sparse_pairs(suffix: str, group_decay: str, l1_decay: str) -> tuple[Step, ...]:
    """Group lasso and connection pruning (L1 and a threshold), each followed by fine-tuning with frozen zeros."""
    groups = f"{SPARSER} weight_decay: 0 breadth_decay: {group_decay} kernel_shape_decay: {group_decay}"
    connections = f'{SPARSER} regularization_type: "L1" weight_decay: {l1_decay}'
    lasso, pruning = f"group lasso {float(group_decay):g}", f"connection pruning {float(l1_decay):g}"
    return (
        sparse(f"groups{suffix}", lasso, "force-pca", groups, grouped),
        sparse(f"groups{suffix}-tuned", f"{lasso}, fine-tuned", f"groups{suffix}", "", frozen("GRPWISE")),
        sparse(f"connections{suffix}", pruning, "force-pca", connections, even_decay),
        sparse(f"connections{suffix}-tuned", f"{pruning}, fine-tuned", f"connections{suffix}", "", frozen("ELTWISE")),
    )


SPARSE = (*sparse_pairs("", "0.01", "2e-3"), *sparse_pairs("-strong", "0.03", "6e-3"))

SHORTENED = (*SWEEP, *SCALER, *RIVALS, *TRUNKS.values(), *BRANCHES, *FREED, *DECOMPOSED, *SPARSE)
NETWORK = Network(
    "convnet",
    (*BASELINES, *SCRATCH, *SHORTENED, *published.SECOND_SEEDS, *published.AFTERWARDS),
    published_cifar10,
    made_up_cifar10,
    "accuracy",
    CIFAR10,
    hold_out=hold_out_cifar10,
)

if __name__ == "__main__":
    sys.exit(main(NETWORK))
