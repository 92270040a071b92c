"""ConvNet on the authors' own schedule of 240,000 iterations: the runs, how l1's strength is chosen, what follows them.

No strength of l1 was published for this net. It is chosen by runs of 45,000 iterations on 45,000 of the training
images, tested on the 5,000 that are held out: of CANDIDATES the strongest whose error is at most half a point above
that without force, which is about the standard error of 5,000 images. 45,000 iterations, for the force shows in the
error from 30,000 on. From every finished run with force follow the net decomposed by three methods at its ranks, beside
the baseline at the same ranks, both fine-tuned for a tenth of the authors' 80,000 iterations; and the net freed of the
force for its last 60,000 iterations.

The first two runs end in float32; all others run in bf16, with bfloat16 in place of float32 for the convolutions and
the inner product, which takes half the time on a CPU that has tiles for it. `in_float32` shows what that changes.
"""

from __future__ import annotations

from typing import Any

from reproductions.steps import Chosen, LowRank, Step

BY_AUTHORS = "from scratch, the schedule of the authors"
LENGTH, FREED_AT, FIRST_LR_TO = 240_000, 180_000, 200_000  # iterations
BEGUN_IN_BF16 = {"baseline": "31,790", "l2-3e-4": "31,398"}  # iterations of those runs; then fp32
FLOAT32, BF16 = ("--precision", "fp32"), ("--precision", "bf16")
HELD_OUT = 5000
ANSWERED = {
    "baseline": ("Table 1: ConvNet scaler 0 (baseline)", "Table 2: ConvNet none"),
    "l2": ("Table 1: ConvNet scaler |W|", "Table 2: ConvNet l2"),
    "l1, chosen": ("Table 2: ConvNet l1",),
}
CANDIDATES = ("1e-4", "1.5e-4", "2e-4", "3e-4")


def run(name: str, method: str, file: str, settings: str = "", seed: int = 1, **more: Any) -> Step:
    """A run from the fillers on. The first two began in bf16 and go on in float32, which their snapshots are told."""
    begun = BEGUN_IN_BF16.get(name) if seed == 1 else None
    more = {
        "options": (*FLOAT32, "--accept-changes") if begun else BF16,
        "note": f"{more.pop('note', BY_AUTHORS)}; precision bf16" + (f" to iteration {begun}" if begun else ""),
        "baseline": "" if method == "baseline" else "baseline-240k" + ("-seed2" if seed == 2 else ""),
        "keep_last": 2 if method == "baseline" else 99,  # for the freed variant begins at a snapshot
        "paper": ANSWERED.get(method, ()),
        **more,
    }
    step = f"{name}-240k" + (f"-seed{seed}" if seed > 1 else "")
    return Step(step, "published schedule", method, f"solver_{file}.prototxt", settings, seed=seed, **more)


def held_out(decay: str = "") -> Step:
    """A run that a strength of l1 is chosen by; without force where there is no `decay`."""
    settings = f"test_iter: {HELD_OUT // 100} stepvalue: 40000 stepvalue: 43000 max_iter: 45000 snapshot: 5000"
    settings += f' force_type: "Constant" force_decay: {decay}' if decay else ""
    return Step(
        f"held-out-l1-{decay}" if decay else "held-out-none",
        "held out",
        "l1" if decay else "none",
        "solver_cifar10_full.prototxt",
        settings,
        options=BF16,
        held_out=HELD_OUT,
        baseline="held-out-none" if decay else "",
        note="from scratch on 45,000 training images; errors are of the 5,000 held out, no test image is seen; "
        "precision bf16",
    )


HELD_OUT_RUNS = (held_out(), *map(held_out, CANDIDATES))
CHOSEN = Chosen(tuple(step.name for step in HELD_OUT_RUNS))


def chosen_l1(seed: int = 1) -> Step:
    """l1 at the strength that the held-out runs choose."""
    note = f"{BY_AUTHORS}; strength chosen on held-out training images"
    return run("l1-chosen", "l1, chosen", "force_l1", "force_decay: 0", seed, note=note, chosen=CHOSEN)


FIRST = (
    run("baseline", "baseline", "baseline"),
    run("l2-3e-4", "l2", "force_l2", "force_decay: 3e-4"),
    run("l2-2e-4", "l2", "force_l2", "force_decay: 2e-4"),
    run("l2", "l2", "force_l2"),
    run("l1-1e-3", "l1", "force_l1"),
    run("discrimination", "l2 discrimination", "discrimination"),
    *HELD_OUT_RUNS,
    chosen_l1(),
)
SECOND_SEEDS = (
    run("baseline", "baseline", "baseline", seed=2),
    run("l2-3e-4", "l2", "force_l2", "force_decay: 3e-4", seed=2),
    run("l2-2e-4", "l2", "force_l2", "force_decay: 2e-4", seed=2),
    run("l2", "l2", "force_l2", seed=2),
    chosen_l1(seed=2),
)
FORCED = tuple(step for step in FIRST if step.name in ("l2-3e-4-240k", "l2-2e-4-240k", "l2-240k", "l1-chosen-240k"))


def precision(of: Step, note: str) -> dict[str, Any]:
    """Options and note of a step after a run: it goes on in the precision that the run ended in."""
    in_bf16 = of.options == BF16
    return {"options": BF16 if in_bf16 else FLOAT32, "note": f"{note}; precision bf16" if in_bf16 else note}


def freed(of: Step) -> Step:
    """No force in the last quarter: the learning rate falls after 20,000 more iterations, and after 40,000."""
    free = FIRST_LR_TO - FREED_AT
    return Step(
        f"{of.name}-freed{FREED_AT}",
        "freed 240k",
        of.method,
        "solver_branch.prototxt",
        f"base_lr: 1e-3 stepvalue: {free} stepvalue: {2 * free} max_iter: {LENGTH - FREED_AT} snapshot: 10000",
        f"{of.name}@{FREED_AT}",
        paper=of.paper,
        baseline="baseline-240k",
        **precision(of, f"{FREED_AT:,} iterations with force, then {LENGTH - FREED_AT:,} without it; {BY_AUTHORS}"),
    )


def in_float32(of: Step) -> Step:
    """A run in bf16 again in float32 from where the learning rate falls: what the precision does to it."""
    left = LENGTH - FIRST_LR_TO
    again = f"base_lr: 1e-4 stepvalue: {left // 2} max_iter: {left}"
    return Step(
        f"{of.name}-float32",
        "float32 control",
        of.method,
        of.solver,
        f"{of.settings} {again}",
        f"{of.name}@{FIRST_LR_TO}",
        options=FLOAT32,
        baseline="baseline-240k",
        note=f"weights of iteration {FIRST_LR_TO:,} in bf16, then {left:,} in float32; {BY_AUTHORS}",
    )


def decomposed(start: Step, method: str, ranks_of: Step) -> Step:
    """A net of 240,000 iterations, decomposed at the ranks of one with force and fine-tuned."""
    at = ranks_of.name.removesuffix("-240k")
    return Step(
        f"{start.name}-{method}" + ("" if start == ranks_of else f"-at-{at}"),
        "decompose 240k",
        f"{start.name.removesuffix('-240k')}, {method} at the ranks of {at}",
        "solver_finetune.prototxt",
        "stepvalue: 3000 stepvalue: 6000 max_iter: 8000 snapshot: 2000 test_interval: 500 display: 100",
        start.name,
        LowRank(method, ranks_of=ranks_of.name),
        **precision(ranks_of, "8,000 iterations of fine-tuning, a tenth of the authors'"),
    )


AFTERWARDS = (
    *(
        step
        for forced in FORCED
        for step in (
            *(decomposed(start, method, forced) for method in ("pca", "svd", "kmeans") for start in (FIRST[0], forced)),
            freed(forced),
        )
    ),
    in_float32(FIRST[2]),
)
