"""The rank and the method of each layer that the options of `decompose` ask for."""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import caffe_compat as cc
from caffe_compat.commands.advice import reason_of
from caffe_compat.commands.numbers import finite, whole
from caffe_compat.commands.options import comma_list, input_options, known_shapes
from caffe_compat.showing import nearest

UNITS = {"multiply-adds": "multiply_adds", "parameters": "parameters", "latency": "latency"}

log = logging.getLogger(__name__)


def choose_ranks(model: cc.Model, arguments: argparse.Namespace) -> tuple[dict[str, Any], str | dict[str, str]]:
    """The rank of each layer, and the method or {layer: method}, that the arguments ask for."""
    method, by_layer = parse_methods(arguments.method)
    excepted = read_exceptions(arguments.except_layers)
    layers = [layer.name for layer in model.net.layer]
    for name in excepted:
        if name not in layers:
            raise cc.RankError(f"--except-layers: layer '{name}', which is not in the net; {nearest(name, layers)}")
    fc = arguments.enable_fc
    if arguments.budget:
        plan = plan_budget(model, arguments)
        return {name: rank for name, rank in plan.ranks.items() if name not in excepted}, plan.methods
    if arguments.evbmf:
        return cc.ranks_by_evbmf(model, excepted), "tucker"
    ranks: dict[str, Any]
    if arguments.keep is not None:
        every = {layer.name: method for layer in model.net.layer} | by_layer
        ranks = dict(cc.ranks_by_energy(model, arguments.keep, fc, excepted, every))
    elif arguments.rankratio is not None:
        ranks = ranks_by_ratio(model, arguments.rankratio, method, fc, excepted)
    elif arguments.ranks and "=" in arguments.ranks[0]:
        ranks = {name: rank_of(rank, name) for name, _, rank in (word.partition("=") for word in arguments.ranks)}
    elif arguments.ranks is not None:
        ranks = dict(cc.ranks_in_order(model, [rank_of(word, "--ranks") for word in arguments.ranks], fc, excepted))
    else:
        ranks = without_unasked(model, cc.read_ranks(arguments.rank_config), fc, excepted)
    methods = {**dict.fromkeys(ranks, method), **by_layer}
    return cc.round_ranks(model, ranks, arguments.multiple, methods), methods


@contextmanager
def naming_the_exception(model: cc.Model, arguments: argparse.Namespace) -> Iterator[None]:
    """Within this block, an error about a layer of `model` tells how to leave it dense, where ranks name none."""
    try:
        yield
    except (cc.RankError, cc.GraphError) as error:
        named = re.match(r"layers? '([^']+)'(?: and '([^']+)')?", str(error))
        by_name = arguments.rank_config or (arguments.ranks and "=" in arguments.ranks[0])
        layers = {layer.name for layer in model.net.layer}
        given = re.search(r"': (?:rank|method is) ", str(error))  # which is what to mend
        if named is None or given or by_name or not layers.issuperset(filter(None, named.groups())):
            raise
        excepted = ",".join(filter(None, named.groups()))
        raise type(error)(f"{error}; or leave it dense: --except-layers {excepted}") from error


def tell_nothing(net: str, arguments: argparse.Namespace) -> None:
    """RankError where no layer is there to decompose; a warning where a budget leaves every one dense."""
    if arguments.budget:
        log.warning("%s: the budget is met with every layer dense; none is decomposed", net)
        return
    kinds = "a Convolution or InnerProduct" if arguments.enable_fc else "a Convolution; --enable-fc takes InnerProducts"
    raise cc.RankError(f"{net}: there is nothing to decompose: no layer with weights that is asked for is {kinds}")


def parse_methods(words: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """The method for all layers, and those of single ones, of `--method pca,conv1=separable`."""
    by_layer = dict(word.split("=", 1) for word in words if "=" in word)
    rest = [word for word in words if "=" not in word]
    return (rest[0] if rest else "pca"), by_layer


def read_exceptions(text: str | None) -> Collection[str]:
    """The names in a comma list, or in a JSON file that holds a list (or an object) of them."""
    if not text:
        return ()
    path = Path(text)
    if not (path.suffix == ".json" or path.is_file()):
        return comma_list(text)
    found = cc.read_json(path, "a JSON list of layer names", cc.RankError)
    if not isinstance(found, list | dict) or not all(isinstance(name, str) for name in found):
        raise cc.RankError(f"{path}: a JSON list of layer names is wanted, found a {type(found).__name__}")
    return list(found)


def ranks_by_ratio(model: cc.Model, ratio: float, method: str, fc: bool, excepted: Collection[str]) -> dict[str, Any]:
    """The fork's rule for its method: share of energy for pca, of the norm for svd; for others it has none."""
    rules = {"pca": cc.ranks_by_energy, "svd": cc.ranks_by_norm}
    if method not in rules:
        raise cc.RankError(f"--rankratio has no rule for method '{method}'; give --ranks or --keep")
    return dict(rules[method](model, ratio, fc, excepted))


def without_unasked(model: cc.Model, ranks: Mapping[str, Any], fc: bool, excepted: Collection[str]) -> dict[str, Any]:
    """`ranks` less the excepted layers, and without --enable-fc less the InnerProducts, as the fork reads its file."""
    kinds = {layer.name: layer.type for layer in model.net.layer if layer.type in ("Convolution", "InnerProduct")}
    dense = {name for name in ranks if kinds.get(name) == "InnerProduct" and not fc}
    for name in sorted(dense):
        log.warning("layer '%s' is an InnerProduct and stays dense; --enable-fc decomposes it", name)
    return {name: rank for name, rank in ranks.items() if name not in excepted and name not in dense}


def rank_of(text: str, where: str) -> int:
    try:
        return whole(text)
    except ValueError:
        raise cc.RankError(f"{where}: rank is '{text}'; a whole number is wanted") from None


def plan_budget(model: cc.Model, arguments: argparse.Namespace) -> cc.Plan:
    """The plan of `--budget UNIT=SHARE`, with the methods of --method to choose from."""
    unit, _, share = arguments.budget.partition("=")
    try:
        part = finite(share)
    except ValueError:
        part = -1.0
    if unit not in UNITS or part < 0:
        raise cc.RankError(f"--budget {arguments.budget}: wanted UNIT=SHARE with a unit of {', '.join(UNITS)}")
    try:
        plan = _plan(model, unit, part, arguments)
    except cc.MissingDataError as error:
        raise cc.MissingDataError(f"{reason_of(error)}; or tell the shapes: {input_options(model)}") from None
    if not arguments.json:
        print(f"{unit}: {plan.before:g} -> {plan.after:g} ({plan.after / plan.before:.3f})")
    return plan


def _plan(model: cc.Model, unit: str, share: float, arguments: argparse.Namespace) -> cc.Plan:
    shapes = known_shapes(model, dict(arguments.input)) or None
    if unit == "latency":
        return cc.ranks_by_latency(
            model,
            share,
            arguments.method,
            max(arguments.multiple, 1),
            input_shapes=shapes,
            kept_in=arguments.latency_table,
        )
    return cc.ranks_by_budget(
        model, share, UNITS[unit], arguments.method, arguments.multiple, arguments.enable_fc, shapes
    )
