"""Every reader of files from outside, as a function of bytes: it returns, or raises what `allowed` lets pass.

    python -m tests.fuzz.readers SEED COUNT [READER ...]

damages whole, valid files in COUNT ways, spread over the readers, in children with bounded memory and time, and names
each case that ends in anything but a CaffeCompatError of one line.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import caffe_compat as cc
from caffe_compat.data.databases import open_database
from caffe_compat.data.datasets import read_idx
from caffe_compat.data.datum import corrupt, parse_alike, parse_datum
from caffe_compat.data.hdf5 import HDF5Batches, read_file_list
from caffe_compat.data.image_windows import read_window_file
from caffe_compat.data.imageset import Conversion
from caffe_compat.decompose.latency_table import LatencyTable
from caffe_compat.proto import binary, hdf5, schema
from caffe_compat.proto.text import find_faults, format_text, parse_text
from caffe_compat.recipes.records import Records
from caffe_compat.solver.callbacks import KeepBest
from tests.conftest import golden
from tests.fuzz import mutations, samples
from tests.fuzz.mutations import Mutate

FORMATS = golden("formats")


def allowed(reader: str, error: BaseException) -> bool:
    """Whether `error` is the one clear line that a reader owes to bad input: a datum's caller adds the place."""
    if reader in ("datum", "idx") and isinstance(error, ValueError):
        return True
    return isinstance(error, cc.CaffeCompatError) and "\n" not in str(error) and 0 < len(str(error)) <= 4000


@cache
def folder() -> Path:
    """A folder for this process's files, in memory where the system has a place for that."""
    root = "/dev/shm" if os.path.isdir("/dev/shm") else None
    made = Path(tempfile.mkdtemp(prefix="caffe_compat_fuzz_", dir=root))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def _file(data: bytes, suffix: str = "") -> Path:
    path = folder() / f"case_{os.getpid()}{suffix}"
    path.write_bytes(data)
    return path


def _same(first: Any, second: Any, what: str) -> None:
    if first != second:
        raise AssertionError(f"{what} differs")


def text(data: bytes) -> None:
    """A prototxt, first byte telling net or solver; what is read is printed and read again to the same message."""
    kind = schema.SolverParameter if data[:1] == b"s" else schema.NetParameter
    path = _file(data[1:], ".prototxt")
    find_faults(path)
    message = parse_text(data[1:].decode("utf-8", "surrogateescape"), kind, "fuzz.prototxt")
    again = parse_text(format_text(message), kind, "again.prototxt")
    _same(again.SerializePartialToString(), message.SerializePartialToString(), "what is written and read back")
    (cc.read_solver if kind is schema.SolverParameter else cc.read_model)(path)


def net_build(data: bytes) -> None:
    """A net is built in both phases, printed and checked."""
    model = cc.read_model(_file(data, ".prototxt"))
    for phase in ("TEST", "TRAIN"):
        try:
            str(cc.Net(model, phase=phase))
        except cc.CaffeCompatError as error:
            _same(allowed("net_build", error), True, f"the form of {error!r}")
    str(cc.check(model))


def caffemodel(data: bytes) -> None:
    """A .caffemodel; what is read can be written and read again."""
    path = _file(data)
    net, weights = binary.read_net(path)
    names = [layer.name for layer in net.layer]
    if len(set(names)) == len(names):
        binary.write_net(path, net, weights)
        again = binary.read_net(path)[1]
        _same(_bytes(again), _bytes(weights), "what is written and read back")


def _bytes(weights: cc.Weights) -> dict[str, list[bytes]]:
    return {name: [blob.tobytes() for blob in blobs] for name, blobs in weights.items() if blobs}


def solverstate(data: bytes) -> None:
    binary.read_solver_state(_file(data))


def binaryproto(data: bytes) -> None:
    binary.read_blob(_file(data))


def hdf5_weights(data: bytes) -> None:
    hdf5.read_weights(_file(data))


def hdf5_state(data: bytes) -> None:
    hdf5.read_solver_state(_file(data))


def hdf5_data(data: bytes) -> None:
    HDF5Batches([_file(data, ".h5")], ["data"], 2).read(0)


def hdf5_list(data: bytes) -> None:
    read_file_list(_file(data), FORMATS / "hdf5")


def datum(data: bytes) -> None:
    """A record of a database, alone and as a batch of two."""
    parse_alike([data, data])
    found = parse_datum(data)
    if not found.encoded:
        found.array()


def idx(data: bytes) -> None:
    read_idx("file", data)


def _run(layer: str) -> None:
    """A net of one data layer gives three batches."""
    net = cc.Net(cc.parse_text(layer, cc.NetParameter), phase="TEST")
    try:
        for _ in range(3):
            net.blobs()
    finally:
        for each in net.layers.values():
            each.close()  # type: ignore[operator]


def _database(path: Path, backend: str) -> None:
    _run(f'layer {{ name: "d" type: "Data" top: "d" top: "l" data_param {{ source: "{path}" batch_size: 3 '
         f"backend: {backend} }} }}")  # fmt: skip
    database = open_database(path)
    try:
        for number, record in enumerate(database.records()):
            try:
                found = parse_datum(record)
                if not found.encoded:
                    found.array()
            except ValueError as error:
                raise corrupt(str(path), number, error) from error
        list(database.key_order())
    finally:
        database.close()


def lmdb(data: bytes) -> None:
    path = folder() / f"lmdb_{os.getpid()}"
    path.mkdir(exist_ok=True)
    (path / "data.mdb").write_bytes(data)
    _database(path, "LMDB")


def leveldb(data: bytes) -> None:
    """A database of which one file is damaged: the input is DATABASE/FILE, a line end, and its content."""
    name, _, content = data.partition(b"\n")
    source, _, file = name.decode("latin-1").partition("/")
    if f"{source}/{file}" not in samples.leveldb_names():
        return
    path = folder() / f"leveldb_{os.getpid()}"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(FORMATS / "db" / source, path)
    (path / file).write_bytes(content)
    _database(path, "LEVELDB")


def image(data: bytes) -> None:
    path = _file(data, ".png")
    for conversion in (Conversion(), Conversion(6, 6, gray=True), Conversion(encode_type="png")):
        conversion.record(path, 1)


def image_list(data: bytes) -> None:
    _run(f'layer {{ name: "d" type: "ImageData" top: "d" top: "l" image_data_param {{ source: "{_file(data)}" '
         f'root_folder: "{FORMATS}/images/" batch_size: 2 new_height: 8 new_width: 8 }} }}')  # fmt: skip


def window_list(data: bytes) -> None:
    path = _file(data)
    read_window_file(path)
    _run(f'layer {{ name: "d" type: "WindowData" top: "d" top: "l" transform_param {{ crop_size: 8 }} '
         f'window_data_param {{ source: "{path}" root_folder: "{FORMATS}/" batch_size: 4 }} }}')  # fmt: skip


def log(data: bytes) -> None:
    from caffe_compat.commands.log import tables
    from caffe_compat.commands.runs import read_run

    "".join(tables(read_run(str(_file(data, ".log"))).curves))


def best_note(data: bytes) -> None:
    solver = samples.solver(folder())
    solver.state.iteration = 5
    Path(f"{solver.config.snapshot_prefix}_best_accuracy.json").write_bytes(data)
    KeepBest("accuracy").after_test(solver, [{"accuracy": 0.01, "loss": 3.0}])


def ranks(data: bytes) -> None:
    cc.decompose(samples.model(folder()), cc.read_ranks(_file(data)))


def exceptions(data: bytes) -> None:
    from caffe_compat.commands.decompose import read_exceptions

    read_exceptions(str(_file(data, ".json")))


def latency(data: bytes) -> None:
    table = LatencyTable(_file(data), "cpu")
    for layer in samples.model(folder()).net.layer:
        if layer.type == "Convolution":
            table.find(layer, (1, 1, 8, 8), [("pca", 3)])


def records(data: bytes) -> None:
    place = folder() / f"steps_{os.getpid()}"
    place.mkdir(exist_ok=True)
    (place / "train.json").write_bytes(data)
    Records(place, ["train", "decompose"]).begin("train", {"a": 1})


def npz(data: bytes) -> None:
    cc.read_npz(_file(data))


def npy(data: bytes) -> None:
    cc.read_npy(_file(data))


def archive(data: bytes) -> None:
    from caffe_compat.data.archives import archived

    list(archived(_file(data), "wanted"))


def gz(data: bytes) -> None:
    from caffe_compat.data.archives import unzipped

    unzipped(_file(data))


def labels(data: bytes) -> None:
    cc.read_labels(_file(data))


@dataclass(frozen=True)
class Kind:
    """A reader, how its files are damaged, and the files to begin from."""

    read: Callable[[bytes], None]
    damage: Mutate
    seeds: Callable[[], Iterator[bytes]]


KINDS: dict[str, Kind] = {
    each.__name__: Kind(each, damage, getattr(samples, f"{each.__name__}_files"))
    for damage, readers in (
        (mutations.lines, (text, net_build, hdf5_list, image_list, window_list, log, labels)),
        (mutations.message, (caffemodel, solverstate, binaryproto, datum)),
        (mutations.json_of, (best_note, ranks, exceptions, latency, records)),
        (mutations.bytes_of, (hdf5_weights, hdf5_state, hdf5_data, idx, lmdb, image, npz, npy, archive, gz)),
        (mutations.rest_of, (leveldb,)),
    )
    for each in readers
}
KINDS["json_log"] = Kind(log, mutations.json_lines, samples.json_log_files)
READERS: dict[str, Callable[[bytes], None]] = {name: kind.read for name, kind in KINDS.items()}


@cache
def seeds(reader: str) -> list[bytes]:
    """Whole, valid inputs to begin from: files of real Caffe, and of this package where Caffe has none."""
    return list(KINDS[reader].seeds())


if __name__ == "__main__":
    from tests.fuzz import campaign

    campaign.main()
