"""Which filters go: by a criterion, a share of each layer, and what the layers have in common."""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from caffe_compat.errors import RankError
from caffe_compat.graph.channels import ChannelClass
from caffe_compat.proto.model import Model
from caffe_compat.prune.exemplars import PREFERENCE_BETA, find_exemplars
from caffe_compat.prune.importance import Scores, check_share, filter_norms
from caffe_compat.prune.narrow import Coupled, Removed
from caffe_compat.prune.owners import owners

logger = logging.getLogger(__name__)

CRITERIA = ("l1", "l2", "bn", "random", "eprune", "zeros")
DATA_CRITERIA = ("fisher", "tfo")  # of `importance`, which need batches
MAKERS = ("Convolution", "Deconvolution", "InnerProduct", "DepthwiseConvolution", "ConvolutionDepthwise")


@dataclass(frozen=True)
class Selection:
    """What to remove. remove: share of the filters of each layer; ratios: {layer: share} in its place.

    min_filters: no class is left with fewer. except_layers: those that keep all. strict: refuse coupled layers with
    different ratios, of which otherwise the smallest counts. beta, seed: of eprune and random.
    """

    criterion: str = "l2"
    remove: float = 0.5
    ratios: Mapping[str, float] = field(default_factory=dict)
    min_filters: int = 1
    except_layers: Collection[str] = ()
    strict: bool = False
    beta: float = PREFERENCE_BETA
    seed: int = 0


def select(model: Model, coupled: Coupled, selection: Selection) -> Removed:
    """The channels that go, class by class. RankError names criterion, share or layer where something is wrong."""
    _check(model, selection)
    layers = owners(model.net.layer)
    generator = np.random.default_rng(selection.seed)
    removed = {}
    for number, each in enumerate(coupled.channels.classes):
        makers = [axis.layer for axis in each.producers if axis.blob == 0 and axis.layer in model.weights]
        if not each.narrowable or not makers or any(layers[name].type not in MAKERS for name in makers):
            continue
        if any(name in selection.except_layers for name in makers):
            continue
        kept = _kept(model, each, makers, selection, generator)
        if len(kept) < each.size:
            removed[number] = [channel for channel in range(each.size) if channel not in kept]
    return removed


def _kept(
    model: Model, each: ChannelClass, makers: Sequence[str], selection: Selection, generator: np.random.Generator
) -> set[int]:
    if selection.criterion == "eprune":
        return _exemplars(model, each, selection)
    if selection.criterion == "zeros":
        norms = _norms(model, each, 1)
        return _at_least(set(np.flatnonzero(norms).tolist()), norms, selection.min_filters)
    scores = (
        generator.random(each.size) if selection.criterion == "random" else _SCORES[selection.criterion](model, each)
    )
    count = math.floor(_ratio(makers, selection) * each.size + 1e-9)
    order = np.argsort(scores, kind="stable")
    return _at_least(set(order[count:].tolist()), scores, selection.min_filters)


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
    layers = owners(model.net.layer)
    scales = [axis for axis in each.followers if layers[axis.layer].type == "Scale" and axis.blob == 0]
    if not scales:
        layer = each.producers[0].layer
        raise RankError(f"criterion 'bn': no Scale follows layer '{layer}'; take l1 or l2, or leave it out")
    total = np.zeros(each.size)
    for axis in scales:
        values = np.abs(np.asarray(model.weights[axis.layer][0], np.float64))
        total += [values[list(axis.indices(channel))].sum() for channel in range(each.size)]
    return total


_SCORES: dict[str, Callable[[Model, ChannelClass], Scores]] = {
    "l1": lambda model, each: _norms(model, each, 1),
    "l2": lambda model, each: _norms(model, each, 2),
    "bn": _gammas,
}


def _exemplars(model: Model, each: ChannelClass, selection: Selection) -> set[int]:
    """EPruner leaves layers alone whose channels others share: inner ones only."""
    makers = [axis for axis in each.producers if axis.blob == 0]
    if len(makers) != 1 or makers[0].repeat != 1 or makers[0].axis != 0 or each.size < 2:
        return set(range(each.size))
    start = makers[0].offset
    weight = np.asarray(model.weights[makers[0].layer][0])[start : start + each.size]
    kept = set(find_exemplars(weight, selection.beta).kept)
    return _at_least(kept, _norms(model, each, 2), selection.min_filters)


def _check(model: Model, selection: Selection) -> None:
    if selection.criterion not in CRITERIA:
        near = difflib.get_close_matches(selection.criterion.lower(), CRITERIA, n=1, cutoff=0.4)
        hint = f"; did you mean '{near[0]}'?" if near else ";"
        if selection.criterion in DATA_CRITERIA:
            hint = " and needs data, which a net and weights alone are not;"
        raise RankError(f"criterion is '{selection.criterion}'{hint} allowed: {', '.join(CRITERIA)}")
    check_share("remove", selection.remove)
    if selection.min_filters < 1:
        raise RankError(f"min_filters is {selection.min_filters}; wanted 1 or more")
    names = [layer.name for layer in model.net.layer]
    for name in (*selection.ratios, *selection.except_layers):
        if name not in names:
            near = difflib.get_close_matches(name, list(model.weights), n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise RankError(f"net '{model.net.name}' has no layer '{name}'{hint}")
    for name, ratio in selection.ratios.items():
        check_share(f"layer '{name}': ratio", ratio)
