"""The steps of one network's runs: every method, three strengths, three seeds; first what shows most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from reproductions.methods.measuring import measure
from reproductions.methods.rivals import METHODS, Budget, Method
from reproductions.steps import Filters, LowRank, Network, Step

SEEDS = (1, 2, 3)
ORDER = (1, 2, 0)  # of strengths: the middle one first, then the strong one
PLAIN = "unpruned"
TRAINED, TUNED = "trained", "fine-tuned"


def slug(name: str) -> str:
    return name.lower().replace(",", "").replace("(", "").replace(")", "").replace(" ", "-")


Row = tuple[str, int]  # a method's name or PLAIN, at its middle strength, and a seed


def steps(
    net: str, budget: Budget, start: str, options: tuple[str, ...], first: Sequence[Row] = (), lightened: bool = False
) -> tuple[Step, ...]:
    """The rows `first`; the unpruned net, then all methods at one strength after the other; seed 2 and 3 after that."""
    note = f"{budget.train:,} iterations from the public model, then {budget.tune:,} of what is left"
    note += "; averages of BatchNorm weigh one batch at the start of both" if lightened else ""
    make = partial(pair, budget=budget, start=start, options=options, note=note, lightened=lightened)
    found: list[Step] = []
    methods = {method.name: method for method in METHODS}
    for name, seed in first:
        method = None if name == PLAIN else methods[name]
        found += make(method, method.strengths_on(net)[ORDER[0]] if method else 0.0, seed)
    for seed in SEEDS:
        found += make(None, 0.0, seed)
        for place in ORDER:
            for method in METHODS:
                found += make(method, method.strengths_on(net)[place], seed)
    return tuple({step.name: step for step in found}.values())  # each at its first place


def pair(
    method: Method | None,
    strength: float,
    seed: int,
    *,
    budget: Budget,
    start: str,
    options: tuple[str, ...],
    note: str,
    lightened: bool,
) -> list[Step]:
    """Training, where the method has its own, and fine-tuning."""
    name = f"{slug(method.name)}-{strength:g}" if method else PLAIN
    title = f"{method.name} {strength:g}" if method else PLAIN
    own = method is None or method.settings is not None
    settings = method.settings(budget, strength) if method and method.settings else ""
    train = Step(
        f"{name if own else PLAIN}-seed{seed}",
        TRAINED,
        title,
        "solver_train.prototxt",
        settings,
        start,
        lightened=lightened,
        seed=seed,
        note=f"{note}; its error is of 1,000 test images",
        options=(*options, *(method.options if method else ())),
        edit=partial(edited, method.edit, strength, seed) if method and method.edit else None,
    )
    tune = Step(
        f"{name}-seed{seed}-tuned",
        TUNED,
        title,
        "solver_tune.prototxt",
        start=train.name,
        lightened=lightened,
        seed=seed,
        note=note,
        options=options,
        baseline="" if method is None else f"{PLAIN}-seed{seed}-tuned",
    )
    small = method.small(budget, strength) if method else None
    if isinstance(small, LowRank):
        tune = replace(tune, low_rank=small)
    elif isinstance(small, Filters):
        tune = replace(tune, filters=small)
    return [train, tune] if own else [tune]


def edited(edit: Callable[[Any, float, int], None], strength: float, seed: int, net: Any) -> None:
    edit(net, strength, seed)


def network(
    name: str,
    budget: Budget,
    start: str,
    data: Sequence[Any],
    accuracy: str = "accuracy",
    options: tuple[str, ...] = (),
    first: Sequence[Row] = (),
    lightened: bool = False,
) -> Network:
    """The runs in the folder methods/NAME, of the net in the folder NAME; data: make_data, make_smoke, databases.

    lightened: see Step.
    """
    made, smoke, databases = data
    return Network(
        f"methods/{name}",
        steps(name, budget, start, options, first, lightened),
        made,
        smoke,
        accuracy,
        databases,
        net=f"../../{name}/train_test.prototxt",
        measure=measure,
    )
