"""The methods that are laid side by side, each with what it trains, at which strengths, and what it leaves.

All start from the same public model and train for the same number of iterations; then filters go, or layers are
decomposed, and what is left is fine-tuned for as long as all others. A method that needs no training of its own cuts
the net that was trained without any. A share is of the filters of each convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reproductions.steps import Filters, LowRank

SHARES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Budget:
    """One network's runs. train, tune: iterations. filters: of all its convolutions. spared: layers that keep all."""

    train: int
    tune: int
    filters: int
    spared: tuple[str, ...] = ()


@dataclass(frozen=True)
class Method:
    """name: as the page has it. family: what it does to a net; also its colour. strengths: mild, middle, strong.

    settings: (budget, strength) -> solver fields of its training; None for a method that trains nothing of its own.
    edit: (net, strength, seed), changes the net first. small: (budget, strength) -> what is done after training.
    options: further words of `solve`. on: {net: strengths}, where they are other ones, as the learning rates are.
    """

    name: str
    family: str
    strengths: tuple[float, ...]
    settings: Callable[[Budget, float], str] | None = None
    edit: Callable[[Any, float, int], None] | None = None
    small: Callable[[Budget, float], LowRank | Filters | None] = lambda budget, strength: None
    options: tuple[str, ...] = ()
    on: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def strengths_on(self, net: str) -> tuple[float, ...]:
        return self.on.get(net, self.strengths)


def convolutions(net: Any) -> list[Any]:
    return [layer for layer in net.layer if layer.type == "Convolution"]


def each_weight(**fields: float) -> Callable[[Any, float, int], None]:
    """Set these fields of the param of the weights of every convolution."""

    def edit(net: Any, strength: float, seed: int) -> None:
        for layer in convolutions(net):
            if not layer.param:
                layer.param.add()
            for name, value in fields.items():
                setattr(layer.param[0], name, value)

    return edit


def share_to_prune(net: Any, strength: float, seed: int) -> None:
    for layer in convolutions(net):
        layer.prune_param.prune_ratio = strength


def only_convolutions(net: Any, strength: float, seed: int) -> None:
    """Group Fisher: the last layer keeps its inputs where these are no channels of a convolution."""
    fully = [layer for layer in net.layer if layer.type == "InnerProduct"]
    for layer in fully[1:]:
        layer.prune_param.prune = False


def connections(net: Any, strength: float, seed: int) -> None:
    """A share of the input channels of every convolution but the first, which sees the image."""
    for layer in convolutions(net)[1:]:
        layer.convolution_param.connection_density = strength
        layer.convolution_param.connection_seed = seed


def zeros(budget: Budget, strength: float) -> Filters:
    return Filters("zeros")


def cut(criterion: str, batches: int = 0) -> Callable[[Budget, float], Filters]:
    """A share of the filters of each convolution goes by this criterion."""
    return lambda budget, share: Filters(criterion, share, except_layers=budget.spared, batches=batches)


def low_rank(budget: Budget, strength: float) -> LowRank:
    """PCA at 95 % of the energy."""
    return LowRank()


def soft(name: str) -> Method:
    return Method(
        name,
        "soft pruning",
        SHARES,
        lambda budget, share: (
            f'prune_method: "{name}" prune_rate: {share} prune_interval: {budget.train // 10} '
            f"prune_max_iter: {budget.train} prune_bias: true prune_bn: true"
        ),
        small=zeros,
    )


def growing(name: str, more: str = "") -> Method:
    """The lambdas reach their limit of 4 after half of the training, and stay there for a quarter."""
    return Method(
        name,
        "growing penalty",
        SHARES,
        lambda budget, share: (
            f'growing_reg: "{name}" update_reg_interval: {budget.train // 100} reg_granularity_prune: 0.1 '
            f"reg_upper_limit: 4 stabilize_reg_interval: {budget.train // 4} {more}"
        ),
        share_to_prune,
        zeros,
    )


def forced(name: str, kind: str) -> Method:
    return Method(
        name,
        "low rank",
        (3e-3, 1e-2, 3e-2),
        lambda budget, decay: f'force_type: "{kind}" force_decay: {decay}',
        small=low_rank,
        on={"lenet": (1e-3, 3e-3, 1e-2), "resnet20": (1e-4, 2e-4, 5e-4)},
    )


def spectral(name: str, kind: str, strengths: tuple[float, ...]) -> Method:
    return Method(
        name,
        "low rank",
        strengths,
        lambda budget, decay: f'spectral_decay: {decay} spectral_decay_type: "{kind}"',
        small=low_rank,
        on=dict.fromkeys(("lenet", "resnet20"), tuple(strength / 10 for strength in strengths)),
    )


def fisher_pruning(budget: Budget, share: float) -> str:
    """As many prunings as the share has filters, evenly over nine tenths of the training."""
    count = round(share * budget.filters)
    return f"fisher_pruning {{ max_prunings: {count} interval: {max(budget.train * 9 // 10 // count, 1)} }}"


METHODS = (
    forced("force, l2", "Degradation"),
    forced("force, l1", "Constant"),
    Method("PCA alone", "low rank", (0.95, 0.9, 0.8), small=lambda budget, keep: LowRank(keep=keep)),
    Method("L1-norm filters", "one-shot", SHARES, small=cut("l1")),
    Method("random filters", "one-shot", SHARES, small=cut("random")),
    Method("EPruner", "one-shot", (0.6, 0.75, 1.0), small=lambda budget, beta: Filters("eprune", beta=beta)),
    soft("SFP"),
    growing("GReg-1"),
    Method(
        "Group Fisher",
        "importance",
        SHARES,
        fisher_pruning,
        only_convolutions,
        zeros,
    ),
    Method(
        "OrthoReg, fisher",
        "importance",
        SHARES,
        lambda budget, share: 'ortho_decay: 1e-2 ortho_type: "OrthoReg"',
        each_weight(ortho_mult=1),
        cut("fisher", batches=50),
    ),
    Method(
        "trained rank pruning",
        "low rank",
        (0.98, 0.95, 0.9),
        lambda budget, keep: f"rank_pruning_interval: {budget.train // 12} rank_pruning_keep: {keep}",
        small=low_rank,
    ),
    spectral("nuclear norm", "nuclear", (3e-2, 1e-1, 3e-1)),
    spectral("Hoyer", "hoyer", (3e-1, 1.0, 3.0)),
    Method(
        "SSL (scnn)",
        "sparse groups",
        (0.1, 0.3, 1.0),
        lambda budget, decay: f"breadth_decay: {decay}",
        each_weight(breadth_decay_mult=1),
        zeros,
        ("--compat", "scnn"),
    ),
    Method(
        "sparse group lasso, l0",
        "sparse groups",
        (0.01, 0.03, 0.1),
        lambda budget, decay: f'sparse_group_decay: {decay} sparse_group_penalty: "l0"',
        each_weight(sparse_group_mult=1),
        lambda budget, decay: Filters("zeros", below=1e-3),
    ),
    Method(
        "IncReg, filters",
        "growing penalty",
        SHARES,
        lambda budget, share: f'prune_method: "Reg_Row" AA: {8 / budget.train} target_reg: 0.5',
        share_to_prune,
        zeros,
    ),
    growing("GReg-2", "reg_granularity_pick: 0.02 reg_upper_limit_pick: 0.4 reg_granularity_recover: 0"),
    soft("ASFP"),
    soft("SRFP"),
    soft("ASRFP"),
    Method(
        "Power of Sparsity",
        "connections",
        (0.75, 0.5, 0.25),
        lambda budget, density: "",
        connections,
    ),
)
