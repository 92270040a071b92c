"""Whole, valid files for every reader to begin from: of real Caffe where it has the format, else made here."""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import h5py
import numpy as np

import caffe_compat as cc
from caffe_compat.proto.tensors import write_safetensors
from caffe_compat.solver.solver import Solver
from tests.commands.conftest import Problem
from tests.conftest import golden
from tests.fuzz.place import folder

FORMATS, RESUME = golden("formats"), golden("resume")
_MOST = 1 << 17  # bytes of a file to begin from: more would only be slower


def _files(folder: Path, pattern: str, most: int = _MOST) -> Iterator[bytes]:
    yield from (path.read_bytes() for path in sorted(folder.rglob(pattern)) if 0 < path.stat().st_size < most)


def text_files() -> Iterator[bytes]:
    for path in sorted(FORMATS.rglob("*.prototxt")):
        yield (b"s" if "solver" in path.name else b"n") + path.read_bytes()


def net_build_files() -> Iterator[bytes]:
    yield from _files(golden("layers"), "*.prototxt")


def caffemodel_files() -> Iterator[bytes]:
    for place in (FORMATS, RESUME):
        yield from _files(place, "*.caffemodel")


def solverstate_files() -> Iterator[bytes]:
    yield from _files(RESUME, "*.solverstate")


def binaryproto_files() -> Iterator[bytes]:
    yield from _files(FORMATS, "*.binaryproto")


def hdf5_weights_files() -> Iterator[bytes]:
    """Small ones first: of the oldest and the newest layout, in one piece and deflated in chunks."""
    for layout in ("earliest", "latest"):
        for options in ({}, {"compression": "gzip", "chunks": (4,)}):
            yield _hdf5({"data/ip/0": np.arange(6, dtype=np.float32), "data/ip/1": np.ones(4)}, layout, **options)
    yield from _files(FORMATS, "*.caffemodel.h5")


def hdf5_state_files() -> Iterator[bytes]:
    yield from _files(RESUME, "*.solverstate.h5")


def hdf5_data_files() -> Iterator[bytes]:
    yield from _files(FORMATS / "hdf5", "*.h5")
    yield _hdf5({"data": np.zeros((4, 2, 3), np.float32)}, "latest", compression="gzip", shuffle=True)


def _hdf5(arrays: dict[str, np.ndarray], layout: str, **options: object) -> bytes:
    memory = io.BytesIO()
    with h5py.File(memory, "w", libver=layout) as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, **options)
    return memory.getvalue()


def hdf5_list_files() -> Iterator[bytes]:
    yield b"part0.h5\npart1.h5\npart2.h5\n"


def datum_files() -> Iterator[bytes]:
    yield bytes.fromhex("080110021802220401020304280a")
    yield bytes.fromhex("080110011801350000804030013a0400008040")
    yield bytes.fromhex("2204ffd8ffe028013801")


def idx_files() -> Iterator[bytes]:
    yield from _files(FORMATS / "mnist_idx", "*")


def lmdb_files() -> Iterator[bytes]:
    yield from _files(FORMATS / "db", "data.mdb")


@cache
def leveldb_names() -> frozenset[str]:
    """DATABASE/FILE of every file of the LevelDBs."""
    found = (path for path in FORMATS.glob("db/*_leveldb/*") if path.name != "LOCK" and path.stat().st_size < _MOST)
    return frozenset(f"{path.parent.name}/{path.name}" for path in found)


def leveldb_files() -> Iterator[bytes]:
    for name in sorted(leveldb_names()):
        yield name.encode() + b"\n" + (FORMATS / "db" / name).read_bytes()


def image_files() -> Iterator[bytes]:
    for pattern in ("*.png", "*.jpg"):
        yield from _files(FORMATS / "images", pattern)


def image_list_files() -> Iterator[bytes]:
    for name in ("list.txt", "list_var.txt"):
        yield (FORMATS / name).read_bytes()


def window_list_files() -> Iterator[bytes]:
    yield from _files(FORMATS, "windows*.txt")


def log_files() -> Iterator[bytes]:
    yield from (content for content in _files(FORMATS / "logs", "*") if b"] Iteration 0" in content)
    yield b"".join(
        b"I1129 20:00:0%d.000000     1 solver.cpp:1] Iteration %d, loss = 1.5\n"
        b"I1129 20:00:0%d.000000     1 solver.cpp:1]     Ranks at 95 %% energy: conv1 3/8, conv2 4/9\n" % (i, 5 * i, i)
        for i in range(4)
    )


def json_log_files() -> Iterator[bytes]:
    events = [
        {"event": "start", "resume": None, "time": 1.0},
        {"event": "step", "iteration": 0, "loss": 1.0, "smoothed_loss": 1.0, "lr": 0.1, "time": 2.0},
        {"event": "test", "iteration": 0, "net": 0, "outputs": {"accuracy": 0.5, "vector": [1.0, 2.0]}, "time": 3.0},
        {"event": "weights", "iteration": 0, "norms": {"conv1": 2.0}, "time": 3.5},
        {"event": "ranks", "iteration": 0, "ranks": {"conv1": 3}, "force_norms": {"conv1": 0.1},
         "angles": {"conv1": {"mean": 40.0}}, "time": 4.0},
        {"event": "snapshot", "iteration": 5, "path": "t_iter_5.caffemodel", "time": 5.0},
    ]  # fmt: skip
    yield "".join(json.dumps(event) + "\n" for event in events).encode()


def labels_files() -> Iterator[bytes]:
    yield b"n01440764 tench, Tinca tinca\nn01443537 goldfish\n"


def best_note_files() -> Iterator[bytes]:
    yield b'{"output": "accuracy", "value": 0.5, "iteration": 5}'


def ranks_files() -> Iterator[bytes]:
    yield b'{"conv1": 3, "conv2": 4}'
    yield b'{"conv2": 2}'


def exceptions_files() -> Iterator[bytes]:
    yield b'["conv1", "conv2"]'
    yield b'{"conv1": 1}'


def latency_files() -> Iterator[bytes]:
    yield b'{"cpu; 1x1x8x8; num_output: 3": {"dense": 0.1, "pca 3": 0.2}}'


def records_files() -> Iterator[bytes]:
    yield b'{"settings": {"a": 1}, "facts": {"b": 2}}'
    yield b'{"settings": {"a": 1}, "facts": null}'


def float_list_files() -> Iterator[bytes]:
    yield b"a.png 0.5 1 -2e3\nfolder/b c.png 1 2 3\n"


def synsets_files() -> Iterator[bytes]:
    yield labels_files().__next__()


def image_sizes_files() -> Iterator[bytes]:
    yield b"a 10 20\nb 300 500\n"


def sidecar_files() -> Iterator[bytes]:
    """Of a run of this version, and as version 1 wrote it."""
    state = snapshot(folder())
    text, arrays = (state.with_name(f"{state.name}.{end}").read_bytes() for end in ("json", "arrays"))
    yield text + b"\n" + arrays
    facts = json.loads(text)
    names = {"cursor": "sources", "type": "type", "checksum": "checksum", "losses": "losses",
             "smoothed_loss": "smoothed_loss", "losses_added": "losses_added"}  # fmt: skip
    first = {new: facts[old] for old, new in names.items()} | {"version": 1, "generators": facts["random"][0]}
    yield json.dumps(first).encode() + b"\n"


def commit_files() -> Iterator[bytes]:
    renames = [[".t_iter_5.caffemodel.abcd1234.part", "t_iter_5.caffemodel"]]
    yield json.dumps({"gone": ["t_iter_5.solverstate"], "renames": renames}).encode()
    yield json.dumps({"gone": [], "renames": []}).encode()


def certificate_files() -> Iterator[bytes]:
    path = folder() / "seed.json"
    pruned(folder()).certificate.write(path)
    yield path.read_bytes()


def safetensors_files() -> Iterator[bytes]:
    path = folder() / "seed.safetensors"
    write_safetensors(path, model(folder()).net, model(folder()).weights)
    yield path.read_bytes()


def npz_files() -> Iterator[bytes]:
    for save in (np.savez, np.savez_compressed):
        memory = io.BytesIO()
        save(memory, data=np.arange(6, dtype=np.float32).reshape(2, 3), label=np.array([1.0, 2.0]))
        yield memory.getvalue()


def npy_files() -> Iterator[bytes]:
    for array in (np.arange(6, dtype=np.float32).reshape(2, 3), np.asfortranarray(np.ones((3, 2)))):
        memory = io.BytesIO()
        np.save(memory, array)
        yield memory.getvalue()


def archive_files() -> Iterator[bytes]:
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        memory = io.BytesIO()
        with tarfile.open(fileobj=memory, mode=mode) as archive:  # type: ignore[call-overload]
            member = tarfile.TarInfo("folder/wanted")
            member.size = 1000
            archive.addfile(member, io.BytesIO(bytes(range(250)) * 4))
            link = tarfile.TarInfo("link/wanted")
            link.type, link.linkname = tarfile.LNKTYPE, "folder/wanted"
            archive.addfile(link)
        yield memory.getvalue()


def gz_files() -> Iterator[bytes]:
    packer = zlib.compressobj(wbits=31)
    yield packer.compress(bytes(range(256)) * 20) + packer.flush()


@cache
def solver(folder: Path) -> Solver:
    """A solver of a small net with its data in `folder`."""
    problem = Problem(folder)
    net, source = (problem.folder / "net.prototxt").read_text(), problem.folder / "list.txt"
    source.write_text(f"{problem.folder}/data.h5\n")
    problem.write("net.prototxt", net.replace('"list.txt"', f'"{source}"'))
    text = (problem.folder / "solver.prototxt").read_text().replace('"net.prototxt"', f'"{folder}/net.prototxt"')
    problem.write("solver.prototxt", text.replace('"small"', f'"{folder}/small"'))
    return Solver(folder / "solver.prototxt")


class Kept:
    """A method that keeps arrays in snapshots."""

    def __init__(self) -> None:
        self.state: dict[str, object] = {"mask": np.arange(6, dtype=np.uint8).reshape(2, 3), "step": 3, "rates": [0.5]}

    def state_dict(self) -> dict[str, object]:
        return self.state

    def load_state_dict(self, state: dict[str, object]) -> None:
        if np.shape(state["mask"]) != (2, 3):
            raise ValueError(f"mask has shape {np.shape(state['mask'])}; wanted (2, 3)")
        self.state = dict(state)


@cache
def snapshot(folder: Path) -> Path:
    """The state of a snapshot of the small solver, whose side-car has arrays."""
    solver(folder)
    trained = Solver(folder / "solver.prototxt")
    trained.keep("method", Kept())
    trained.step(2)
    return trained.snapshot("iter_2")


@cache
def model(folder: Path) -> cc.Model:
    return solver(folder).model()


@cache
def pruned(folder: Path) -> cc.PrunedFilters:
    """That net without half the filters of its convolutions, and the certificate."""
    return cc.prune_filters(model(folder), cc.Selection("l1", remove=0.5), folder=folder)
