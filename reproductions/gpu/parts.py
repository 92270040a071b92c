"""The parts of the campaign, in the order in which they tell most."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from reproductions.convnet.run import NETWORK as CONVNET
from reproductions.gpu import measuring
from reproductions.gpu.campaign import Campaign, steps_of, train
from reproductions.resnet20.run import NETWORK as RESNET20

TRAINING = {
    "convnet": (CONVNET, [step.name for step in steps_of(CONVNET) if step.seed == 1]),
    "seeds": (CONVNET, [step.name for step in steps_of(CONVNET) if step.seed > 1]),
    "resnet20": (RESNET20, [step.name for step in steps_of(RESNET20)]),
}
Part = Callable[[Campaign, float], bool]
PARTS: dict[str, tuple[Part, str]] = {
    "tests": (measuring.marked_tests, "the tests that need a CUDA device"),
    "agreement": (measuring.agreement, "losses and weights of cifar10_full beside the CPU's over 100 iterations"),
    "iterations": (
        measuring.iteration_times,
        "time of an iteration of cifar10_full and ResNet-20 in each precision",
    ),
    "together": (measuring.times_together, "the same of cifar10_full, 1 to 8 nets at once"),
    "convnet": (partial(train, *TRAINING["convnet"]), "cifar10_full, 240,000 iterations, five nets"),
    "seeds": (partial(train, *TRAINING["seeds"]), "three of them again with seeds 2 and 3"),
    "resnet20": (partial(train, *TRAINING["resnet20"]), "ResNet-20, 64,000 iterations, four nets"),
    "speedups": (measuring.speedups, "dense over decomposed, Tables 4 to 6"),
}

# Seconds that a part which measures takes at most on a GPU; it is not begun with less left, unless it comes first.
NEEDS = {"tests": 240, "agreement": 150, "iterations": 120, "together": 120, "speedups": 180}


def is_done(campaign: Campaign, part: str) -> bool:
    """Whether the part has nothing left to do."""
    if part not in TRAINING:
        return campaign.has(part)
    network, names = TRAINING[part]
    runner = campaign.runner(network)
    return all(runner.is_done(runner.network.step(name)) for name in names)


def run(campaign: Campaign, parts: Sequence[str], seconds: float) -> bool:
    """Do the unfinished ones of `parts` in order until `seconds` are over; whether all of them are finished."""
    deadline = time.monotonic() + seconds
    begun, finished = False, True
    for name in parts:
        if is_done(campaign, name):
            campaign.say(f"{name}: finished before")
            continue
        left = deadline - time.monotonic()
        if left <= 0 or (begun and left < NEEDS.get(name, 0) and not campaign.rehearse):
            campaign.say(f"{name}: too little time is left; the same command goes on")
            finished = False
            continue
        campaign.say(f"{name}: {PARTS[name][1]}")
        begun = True
        if not PARTS[name][0](campaign, left):
            campaign.say(f"{name}: the time is over; the same command goes on")
            finished = False
    return finished
