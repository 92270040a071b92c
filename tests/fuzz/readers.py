"""Every reader of files from outside, as a function of bytes: it returns, or raises what `allowed` lets pass.

    python -m tests.fuzz.readers SEED COUNT [READER ...]

damages whole, valid files in COUNT ways, spread over the readers, in children with bounded memory and time, and names
each case that ends in anything but a CaffeCompatError of one line.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import caffe_compat as cc
from caffe_compat.data.databases import open_database
from caffe_compat.data.datasets import read_idx
from caffe_compat.data.datum import corrupt, parse_alike, parse_datum
from caffe_compat.data.float_labels import read_float_list
from caffe_compat.data.hdf5 import HDF5Batches, read_file_list
from caffe_compat.data.ilsvrc import synset_labels
from caffe_compat.data.image_windows import read_window_file
from caffe_compat.data.imageset import Conversion
from caffe_compat.proto import binary, hdf5, schema, tensors
from caffe_compat.proto.text import find_faults, format_text, parse_text
from tests.conftest import golden
from tests.fuzz import mutations, samples
from tests.fuzz.mutations import Mutate
from tests.fuzz.place import file_of, folder, own_folder
from tests.fuzz.run_files import (
    best_note,
    certificate,
    commit,
    exceptions,
    latency,
    log,
    ranks,
    records,
    sidecar,
)

FORMATS = golden("formats")


def allowed(reader: str, error: BaseException) -> bool:
    """Whether `error` is the one clear line that a reader owes to bad input: a datum's caller adds the place."""
    if reader in ("datum", "idx") and isinstance(error, ValueError):
        return True
    return isinstance(error, cc.CaffeCompatError) and "\n" not in str(error) and 0 < len(str(error)) <= 4000


def _same(first: Any, second: Any, what: str) -> None:
    if first != second:
        raise AssertionError(f"{what} differs")


def text(data: bytes) -> None:
    """A prototxt, first byte telling net or solver; what is read is printed and read again to the same message."""
    kind = schema.SolverParameter if data[:1] == b"s" else schema.NetParameter
    path = file_of(data[1:], ".prototxt")
    find_faults(path)
    message = parse_text(data[1:].decode("utf-8", "surrogateescape"), kind, "fuzz.prototxt")
    again = parse_text(format_text(message), kind, "again.prototxt")
    _same(again.SerializePartialToString(), message.SerializePartialToString(), "what is written and read back")
    (cc.read_solver if kind is schema.SolverParameter else cc.read_model)(path)


def net_build(data: bytes) -> None:
    """A net is built in both phases, printed and checked."""
    model = cc.read_model(file_of(data, ".prototxt"))
    for phase in ("TEST", "TRAIN"):
        try:
            str(cc.Net(model, phase=phase))
        except cc.CaffeCompatError as error:
            _same(allowed("net_build", error), True, f"the form of {error!r}")
    str(cc.check(model))


def caffemodel(data: bytes) -> None:
    """A .caffemodel; what is read can be written and read again."""
    path = file_of(data)
    net, weights = binary.read_net(path)
    names = [layer.name for layer in net.layer]
    if len(set(names)) == len(names):
        binary.write_net(path, net, weights)
        again = binary.read_net(path)[1]
        _same(_bytes(again), _bytes(weights), "what is written and read back")


def _bytes(weights: cc.Weights) -> dict[str, list[bytes]]:
    return {name: [blob.tobytes() for blob in blobs] for name, blobs in weights.items() if blobs}


def solverstate(data: bytes) -> None:
    binary.read_solver_state(file_of(data))


def binaryproto(data: bytes) -> None:
    binary.read_blob(file_of(data))


def hdf5_weights(data: bytes) -> None:
    hdf5.read_weights(file_of(data))


def hdf5_state(data: bytes) -> None:
    hdf5.read_solver_state(file_of(data))


def hdf5_data(data: bytes) -> None:
    HDF5Batches([file_of(data, ".h5")], ["data"], 2).read(0)


def hdf5_list(data: bytes) -> None:
    read_file_list(file_of(data), FORMATS / "hdf5")


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
    path = own_folder("leveldb")
    shutil.copytree(FORMATS / "db" / source, path, dirs_exist_ok=True)
    (path / file).write_bytes(content)
    _database(path, "LEVELDB")


def image(data: bytes) -> None:
    path = file_of(data, ".png")
    for conversion in (Conversion(), Conversion(6, 6, gray=True), Conversion(encode_type="png")):
        conversion.record(path, 1)


def image_list(data: bytes) -> None:
    _run(f'layer {{ name: "d" type: "ImageData" top: "d" top: "l" image_data_param {{ source: "{file_of(data)}" '
         f'root_folder: "{FORMATS}/images/" batch_size: 2 new_height: 8 new_width: 8 }} }}')  # fmt: skip


def window_list(data: bytes) -> None:
    path = file_of(data)
    read_window_file(path)
    _run(f'layer {{ name: "d" type: "WindowData" top: "d" top: "l" transform_param {{ crop_size: 8 }} '
         f'window_data_param {{ source: "{path}" root_folder: "{FORMATS}/" batch_size: 4 }} }}')  # fmt: skip


def npz(data: bytes) -> None:
    cc.read_npz(file_of(data))


def npy(data: bytes) -> None:
    cc.read_npy(file_of(data))


def archive(data: bytes) -> None:
    from caffe_compat.data.archives import archived

    list(archived(file_of(data), "wanted"))


def gz(data: bytes) -> None:
    from caffe_compat.data.archives import unzipped

    unzipped(file_of(data))


def labels(data: bytes) -> None:
    cc.read_labels(file_of(data))


def float_list(data: bytes) -> None:
    read_float_list(file_of(data))


def synsets(data: bytes) -> None:
    synset_labels(folder(), file_of(data))


def safetensors(data: bytes) -> None:
    """Weights as safetensors; what is read can be written and read again."""
    net, weights = tensors.read_safetensors(file_of(data, ".safetensors"))
    if net is not None:
        tensors.write_safetensors(folder() / "again.safetensors", net, weights)
        _same(
            _bytes(tensors.read_safetensors(folder() / "again.safetensors")[1]),
            _bytes(weights),
            "what is written and read",
        )


def image_sizes(data: bytes) -> None:
    """The list of image sizes of SSD's DetectionEvaluate, which then scores a box."""
    shapes = "shape { dim: 1 dim: 1 dim: 1 dim: 7 }", "shape { dim: 1 dim: 1 dim: 1 dim: 8 }"
    inputs = "".join(f'layer {{ name: "{n}" type: "Input" top: "{n}" input_param {{ {shape} }} }}'
                     for n, shape in zip("ft", shapes, strict=True))  # fmt: skip
    net = cc.Net(cc.parse_text(
        f'{inputs} layer {{ name: "e" type: "DetectionEvaluate" bottom: "f" bottom: "t" top: "e" '
        f'detection_evaluate_param {{ num_classes: 3 name_size_file: "{file_of(data, ".txt")}" }} }}',
        cc.NetParameter,
    ))  # fmt: skip
    box = [0.1, 0.1, 0.5, 0.5]
    for _ in range(3):
        net.blobs(f=np.float32([[[[0, 1, 0.9, *box]]]]), t=np.float32([[[[0, 1, 0, *box, 0]]]]))


@dataclass(frozen=True)
class Kind:
    """A reader, how its files are damaged, and the files to begin from."""

    read: Callable[[bytes], None]
    damage: Mutate
    seeds: Callable[[], Iterator[bytes]]


KINDS: dict[str, Kind] = {
    each.__name__: Kind(each, damage, getattr(samples, f"{each.__name__}_files"))
    for damage, readers in (
        (
            mutations.lines,
            (text, net_build, hdf5_list, image_list, window_list, log, labels, float_list, synsets, image_sizes),
        ),
        (mutations.message, (caffemodel, solverstate, binaryproto, datum)),
        (mutations.json_of, (best_note, ranks, exceptions, latency, records, commit, certificate)),
        (mutations.bytes_of, (hdf5_weights, hdf5_state, hdf5_data, idx, lmdb, image, npz, npy, archive, gz)),
        (mutations.rest_of, (leveldb,)),
        (mutations.sidecar, (sidecar,)),
        (mutations.headed_json, (safetensors,)),
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
