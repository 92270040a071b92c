"""Which filters go: by a criterion, a share of each layer, and what the layers have in common."""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from caffe_compat.errors import RankError
from caffe_compat.graph.channels import Axis, ChannelClass
from caffe_compat.proto.model import Model
from caffe_compat.prune.constants import Removed
from caffe_compat.prune.exemplars import PREFERENCE_BETA, find_exemplars
from caffe_compat.prune.importance import Scores, check_share, choose_least, filter_norms, protected
from caffe_compat.prune.narrow import Coupled
from caffe_compat.prune.owners import owners

logger = logging.getLogger(__name__)

DATA_CRITERIA = ("fisher", "tfo")  # of prune/importance.py, from gradients on batches
CRITERIA = ("l1", "l2", "bn", "random", "eprune", "zeros", *DATA_CRITERIA)
OWN_COUNT = ("eprune", "zeros")  # those that say themselves how many filters go
Gradients = Mapping[tuple[str, int], NDArray[np.floating]]  # (layer, blob) -> the loss's mean gradient
MAKERS = ("Convolution", "Deconvolution", "InnerProduct", "DepthwiseConvolution", "ConvolutionDepthwise")


@dataclass(frozen=True)
class Selection:
    """What to remove. remove: share of the filters of each layer; ratios: {layer: share} in its place.

    min_filters: no class is left with fewer. except_layers: those that keep all. strict: refuse coupled layers with
    different ratios, of which otherwise the smallest counts. beta: of eprune; betas: {layer: one of its own}. seed: of
    random. across_layers: the share
    is of the filters of all layers together, those of least score wherever they are. protect: the last
    floor(protect * filters) + 1 filters of each layer stay whatever their score, as OrthoReg's code has it; 0: none.
    """

    criterion: str = "l2"
    remove: float = 0.5
    ratios: Mapping[str, float] = field(default_factory=dict)
    min_filters: int = 1
    except_layers: Collection[str] = ()
    strict: bool = False
    beta: float = PREFERENCE_BETA
    betas: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    across_layers: bool = False
    protect: float = 0.0


def select(
    model: Model,
    coupled: Coupled,
    selection: Selection,
    gradients: Gradients | None = None,
    gone: Removed | None = None,
) -> Removed:
    """The channels that go, class by class; those of `gone`, which went before, with them.

    gradients: for the criteria that need data. Shares are of what `gone` leaves. RankError names criterion, share or
    layer where something is wrong.
    """
    _check(model, selection, gradients)
    gone = gone or {}
    choices = _choices(model, coupled, selection)
    classes = coupled.channels.classes
    if selection.criterion in OWN_COUNT:
        find = _exemplars if selection.criterion == "eprune" else _filled
        kept = {number: find(model, classes[number], selection) for number in choices}
    else:
        generator = np.random.default_rng(selection.seed)
        scores = {
            number: _protected(_scores(model, classes[number], selection, generator, gradients), selection.protect)
            for number in choices
        }
        alive = {number: sorted(set(range(classes[number].size)) - set(gone.get(number, ()))) for number in choices}
        kept = (_across_layers if selection.across_layers else _layer_by_layer)(scores, alive, choices, selection)
    return {
        number: [channel for channel in range(classes[number].size) if channel not in stays]
        for number, stays in kept.items()
        if len(stays) < classes[number].size
    }


def _choices(model: Model, coupled: Coupled, selection: Selection) -> dict[int, list[str]]:
    """The classes whose channels may go, and the layers that make them."""
    layers, found = owners(model.net.layer), {}
    for number, each in enumerate(coupled.channels.classes):
        makers = [axis.layer for axis in each.producers if axis.blob == 0 and axis.layer in model.weights]
        if not each.narrowable or not makers or any(layers[name].type not in MAKERS for name in makers):
            continue
        if not any(name in selection.except_layers for name in makers):
            found[number] = makers
    return found


def _layer_by_layer(
    scores: Mapping[int, Scores],
    alive: Mapping[int, list[int]],
    makers: Mapping[int, Sequence[str]],
    selection: Selection,
) -> dict[int, set[int]]:
    kept = {}
    for number, every in scores.items():
        own = every[alive[number]]
        count = math.floor(_ratio(makers[number], selection) * len(own) + 1e-9)
        places = _at_least(set(np.argsort(own, kind="stable")[count:].tolist()), own, selection.min_filters)
        kept[number] = {alive[number][place] for place in places}
    return kept


def _across_layers(
    scores: Mapping[int, Scores],
    alive: Mapping[int, list[int]],
    makers: Mapping[int, Sequence[str]],
    selection: Selection,
) -> dict[int, set[int]]:
    if not scores:
        return {}
    left = {str(number): every[alive[number]] for number, every in scores.items()}
    chosen = choose_least(left, selection.remove, selection.min_filters)
    return {number: {alive[number][place] for place in chosen[str(number)]} for number in scores}


def _protected(scores: Scores, share: float) -> Scores:
    if not share:
        return scores
    scores = scores.astype(np.float64)
    scores[max(len(scores) - protected(len(scores), share), 0) :] = np.inf
    return scores


def _scores(
    model: Model,
    each: ChannelClass,
    selection: Selection,
    generator: np.random.Generator,
    gradients: Gradients | None,
) -> Scores:
    if selection.criterion == "random":
        return generator.random(each.size)
    if selection.criterion in DATA_CRITERIA:
        assert gradients is not None
        return _BY_GRADIENTS[selection.criterion](model, each, gradients)
    return _SCORES[selection.criterion](model, each)


def _filled(model: Model, each: ChannelClass, selection: Selection) -> set[int]:
    """The channels that some weight makes."""
    norms = _norms(model, each, 1)
    return _at_least(set(np.flatnonzero(norms).tolist()), norms, selection.min_filters)


def _ratio(makers: Sequence[str], selection: Selection) -> float:
    ratios = {name: selection.ratios.get(name, selection.remove) for name in dict.fromkeys(makers)}
    if len(set(ratios.values())) > 1:
        given = ", ".join(f"{name} {ratio:g}" for name, ratio in ratios.items())
        if selection.strict:
            raise RankError(f"layers whose channels go together have different ratios: {given}; give them the same")
        logger.warning("Channels that go together have different ratios, the smallest counts: %s", given)
    return min(ratios.values())


def _at_least(kept: set[int], scores: Scores, least: int) -> set[int]:
    """`kept`, with those of the highest scores added until there are `least`."""
    for channel in np.argsort(-scores, kind="stable").tolist():
        if len(kept) >= min(least, len(scores)):
            break
        kept.add(channel)
    return kept


def _norms(model: Model, each: ChannelClass, power: float) -> Scores:
    """The norm of all that makes each channel, over all its makers."""
    total = np.zeros(each.size)
    for axis in each.producers:
        if axis.blob == 0 and axis.layer in model.weights:
            rows = np.moveaxis(np.asarray(model.weights[axis.layer][0]), axis.axis, 0)
            for channel in range(each.size):
                total[channel] += (filter_norms(rows[list(axis.indices(channel))], power) ** power).sum()
    norms: Scores = total ** (1 / power)
    return norms


def _gammas(model: Model, each: ChannelClass) -> Scores:
    """sum |gamma| of the Scales that follow."""
    total = np.zeros(each.size)
    for axis in _scales(model, each, "bn"):
        values = np.abs(np.asarray(model.weights[axis.layer][0], np.float64))
        total += [values[list(axis.indices(channel))].sum() for channel in range(each.size)]
    return total


def _scales(model: Model, each: ChannelClass, criterion: str) -> list[Axis]:
    """The gammas of the Scales that follow; RankError where there are none."""
    layers = owners(model.net.layer)
    scales = [axis for axis in each.followers if layers[axis.layer].type == "Scale" and axis.blob == 0]
    if not scales:
        layer = each.producers[0].layer
        instead = "fisher" if criterion == "tfo" else "l1 or l2"
        raise RankError(f"criterion '{criterion}': no Scale follows layer '{layer}'; take {instead}, or leave it out")
    return scales


def _fisher(model: Model, each: ChannelClass, gradients: Gradients) -> Scores:
    """sum over the layers that make a channel of (sum over its weights and bias of w g)^2."""
    sums: dict[str, Scores] = {}
    for axis in each.producers:
        if axis.layer in model.weights and axis.blob < 2:
            product = np.asarray(model.weights[axis.layer][axis.blob], np.float64) * gradients[axis.layer, axis.blob]
            rows = np.moveaxis(product, axis.axis, 0)
            found = [rows[list(axis.indices(channel))].sum() for channel in range(each.size)]
            sums[axis.layer] = sums.get(axis.layer, np.zeros(each.size)) + found
    total: Scores = np.sum([own**2 for own in sums.values()], axis=0)
    return total


def _tfo(model: Model, each: ChannelClass, gradients: Gradients) -> Scores:
    """sum over the Scales that follow of (gamma g_gamma)^2."""
    total = np.zeros(each.size)
    for axis in _scales(model, each, "tfo"):
        product = np.asarray(model.weights[axis.layer][0], np.float64) * gradients[axis.layer, 0]
        total += [(product[list(axis.indices(channel))] ** 2).sum() for channel in range(each.size)]
    return total


_SCORES: dict[str, Callable[[Model, ChannelClass], Scores]] = {
    "l1": lambda model, each: _norms(model, each, 1),
    "l2": lambda model, each: _norms(model, each, 2),
    "bn": _gammas,
}
_BY_GRADIENTS: dict[str, Callable[[Model, ChannelClass, Gradients], Scores]] = {"fisher": _fisher, "tfo": _tfo}


def _exemplars(model: Model, each: ChannelClass, selection: Selection) -> set[int]:
    """EPruner leaves layers alone whose channels others share: inner ones only."""
    makers = [axis for axis in each.producers if axis.blob == 0]
    if len(makers) != 1 or makers[0].repeat != 1 or makers[0].axis != 0 or each.size < 2:
        return set(range(each.size))
    start = makers[0].offset
    weight = np.asarray(model.weights[makers[0].layer][0])[start : start + each.size]
    kept = set(find_exemplars(weight, selection.betas.get(makers[0].layer, selection.beta)).kept)
    return _at_least(kept, _norms(model, each, 2), selection.min_filters)


def _check(model: Model, selection: Selection, gradients: Gradients | None) -> None:
    criterion = selection.criterion
    if criterion not in CRITERIA:
        near = difflib.get_close_matches(criterion.lower(), CRITERIA, n=1, cutoff=0.4)
        hint = f"; did you mean '{near[0]}'?" if near else ";"
        raise RankError(f"criterion is '{criterion}'{hint} allowed: {', '.join(CRITERIA)}")
    if criterion in DATA_CRITERIA and gradients is None:
        raise RankError(
            f"criterion '{criterion}' needs data: name the net that has a data layer and a loss, and how many batches "
            "of it to take (--batches 100); without data take one of "
            + ", ".join(each for each in CRITERIA if each not in DATA_CRITERIA)
        )
    if selection.across_layers and (criterion in OWN_COUNT or selection.ratios):
        what = "ratios of single layers" if selection.ratios else f"criterion '{criterion}', which finds its own count,"
        raise RankError(f"{what} and across_layers exclude one another; leave one out")
    if selection.protect:
        check_share("protect", selection.protect)
    check_share("remove", selection.remove)
    if selection.min_filters < 1:
        raise RankError(f"min_filters is {selection.min_filters}; wanted 1 or more")
    names = [layer.name for layer in model.net.layer]
    for name, beta in selection.betas.items():
        if not (math.isfinite(beta) and beta >= 0):
            raise RankError(f"layer '{name}': preference beta is {beta:g}; wanted a finite number, 0 or more")
    for name in (*selection.ratios, *selection.betas, *selection.except_layers):
        if name not in names:
            near = difflib.get_close_matches(name, list(model.weights), n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise RankError(f"net '{model.net.name}' has no layer '{name}'{hint}")
    for name, ratio in selection.ratios.items():
        check_share(f"layer '{name}': ratio", ratio)
