"""What forks of Caffe add to its messages: forks.tsv, and the fields of the two forks that caffe.proto has."""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources

# Fields of the paper's fork and of SSL, which caffe.proto has
FORCE = {
    "LayerParameter": {"sparsify_param": 147, "symmetric_rectify_param": 148, "display": 12},
    "ParamSpec": {"force_mult": 6, "force_regularize": 5},
}
SSL = {
    "LayerParameter": {"connectivity_mode": 12},
    "ParamSpec": {"breadth_decay_mult": 5, "kernel_shape_decay_mult": 6, "block_group_lasso": 7, "decay_proto": 9},
    "ConvolutionParameter": {"conv_mode": 21},
}


@cache
def table() -> list[dict[str, str]]:
    """The lines of forks.tsv, by the names in its first line."""
    text = resources.files(__package__).joinpath("forks.tsv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines(), delimiter="\t"))


def numbers(row: dict[str, str]) -> dict[str, int]:
    """Fork -> the number that it has for the field of a line of forks.tsv."""
    return {fork: int(number) for fork, number in (item.split("=") for item in row["forks"].split())}


@cache
def order() -> list[str]:
    """All forks, those first whose evidence weighs more where several explain the same."""
    forks = dict.fromkeys(fork for row in table() for fork in numbers(row))
    return list(dict.fromkeys(["wen2017", "ssl", "ssd", "nvidia", "intel", *forks]))


@cache
def added_values(full_name: str) -> frozenset[str]:
    """The values of an enum, given with its package, that forks add: all of them, where the enum is a fork's own."""
    enum = full_name.removeprefix("caffe.")
    return frozenset(row["name"] for row in table() if row["kind"] == "value" and row["message"] == enum)


@cache
def added_fields() -> dict[str, dict[str, dict[str, int]]]:
    """Message -> field that Caffe 1.0 does not have -> the forks that have it, each with its number for it."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for fork, messages in (("wen2017", FORCE), ("ssl", SSL)):
        for message, fields in messages.items():
            for name, number in fields.items():
                found.setdefault(message, {})[name] = {fork: number}
    for row in table():
        if row["kind"] == "field":
            found.setdefault(row["message"], {})[row["name"]] = numbers(row)
    return found
