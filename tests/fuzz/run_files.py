"""Readers of the files that runs leave and go on from: side-cars, notes, logs, tables, records, certificates."""

from __future__ import annotations

from pathlib import Path

import caffe_compat as cc
from caffe_compat.decompose.latency_table import LatencyTable
from caffe_compat.recipes.records import Records
from caffe_compat.solver.callbacks import KeepBest
from caffe_compat.solver.sets import recover
from tests.fuzz import samples
from tests.fuzz.place import file_of, folder, own_folder


def log(data: bytes) -> None:
    from caffe_compat.commands.log import tables
    from caffe_compat.commands.runs import read_run

    "".join(tables(read_run(str(file_of(data, ".log"))).curves))


def best_note(data: bytes) -> None:
    solver = samples.solver(folder())
    solver.state.iteration = 5
    Path(f"{solver.config.snapshot_prefix}_best_accuracy.json").write_bytes(data)
    KeepBest("accuracy").after_test(solver, [{"accuracy": 0.01, "loss": 3.0}])


def ranks(data: bytes) -> None:
    cc.decompose(samples.model(folder()), cc.read_ranks(file_of(data)))


def exceptions(data: bytes) -> None:
    from caffe_compat.commands.choosing import read_exceptions

    read_exceptions(str(file_of(data, ".json")))


def latency(data: bytes) -> None:
    table = LatencyTable(file_of(data), "cpu")
    for layer in samples.model(folder()).net.layer:
        if layer.type == "Convolution":
            table.find(layer, (1, 1, 8, 8), [("pca", 3)])


def records(data: bytes) -> None:
    place = own_folder("steps")
    (place / "train.json").write_bytes(data)
    Records(place, ["train", "decompose"]).begin("train", {"a": 1})


def sidecar(data: bytes) -> None:
    """A side-car (its first line) and its arrays (the rest) beside a state; a solver goes on from them for a step."""
    text, _, arrays = data.partition(b"\n")
    state = samples.snapshot(folder())
    for path, content in (
        (state.with_name(f"{state.name}.json"), text),
        (state.with_name(f"{state.name}.arrays"), arrays),
    ):
        path.write_bytes(content)
    opened = cc.open_snapshot(state)  # before a solver is made, for most end here
    solver = cc.Solver(folder() / "solver.prototxt")
    solver.keep("method", samples.Kept())
    solver.restore(opened)
    solver.step(1)


def commit(data: bytes) -> None:
    """A note of what a killed run had begun to do: it names files of its own prefix alone, or nothing happens."""
    place = own_folder("commit")
    others = [place / name for name in ("u_iter_5.caffemodel", "t", "t.jsonl", "net.prototxt")]
    temporary = ".t_iter_5.caffemodel.abcd1234.part"
    own = [place / name for name in ("t_iter_5.solverstate", temporary, "t_iter_5.caffemodel")]
    for path in (*others, *own):
        path.write_bytes(path.name.encode())
    (place / ".t_iter_5.solverstate.commit").write_bytes(data)
    recover(place / "t")
    for path in others:
        assert path.read_bytes() == path.name.encode(), f"{path.name} was touched"
    assert not list(place.glob(".*"))


def certificate(data: bytes) -> None:
    """A certificate of `prune`, against a net and the one that lacks half its filters."""
    kept, constants = cc.read_kept(file_of(data, ".json"))
    cc.certify_pruned(samples.model(folder()), samples.pruned(folder()).model, kept, None, constants, folder())
