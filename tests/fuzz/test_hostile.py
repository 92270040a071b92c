"""Files made to break a reader: each gets one clear line in 2 seconds, in a process with 1 GiB to spend."""

from __future__ import annotations

import gzip
import json
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from caffe_compat.data.databases import write_database
from caffe_compat.proto.wire import delimited, tag, varint
from tests.conftest import ROOT, golden

if not sys.platform.startswith("linux"):
    pytest.skip("limits of memory are Linux's here", allow_module_level=True)

MODEL = golden("formats", "caffemodel", "net.caffemodel").read_bytes()
HDF5_MODEL = golden("formats", "caffemodel", "net.caffemodel.h5").read_bytes()
INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }\n'


LINK = 'layer {{ type: "ReLU" bottom: "{}" top: "{}" name: "a" }}\n'


def layer(kind: str, field: str) -> str:
    return f'{INPUT}layer {{ name: "a" type: "{kind}" bottom: "x" top: "y" {field} }}'


def blob(*dims: int, data: bytes = b"") -> bytes:
    shape = delimited(7, delimited(1, b"".join(varint(dim) for dim in dims)))
    return delimited(100, delimited(1, b"a") + delimited(7, delimited(5, data) + shape))


def chain(count: int) -> str:
    """Layers each of which reads the one before, the first something that nobody makes."""
    return INPUT + "".join(LINK.format(f"t{i}", f"t{i + 1}") for i in range(count))


CONTENT: dict[str, tuple[str, bytes | str, str]] = {  # name -> action, content, what the error says
    "truncated": ("model", MODEL[: len(MODEL) // 2], r"cut short or damaged"),
    "empty": ("weights", b"", r"the file is empty"),
    "length of 4 GiB": ("model", b"\xa2\x06\xff\xff\xff\xff\x0f", r"says 4294967295 bytes, 0 are left"),
    "length of 2^63": ("model", b"\xa2\x06" + varint(1 << 63), r"says 9223372036854775808 bytes"),
    "endless number": ("model", b"\x08" + b"\xff" * 1000, r"more than 10 bytes"),
    "negative axis": ("model", blob(-1, 4), r"negative axis"),
    "product beyond 64 bits": ("model", blob(2**62, 2**62, 2**62), r"larger than Caffe takes"),
    "product that overflows to the count": ("model", blob(2**32, 2**32), r"larger than Caffe takes"),
    "axis of 2^62 beside 0": ("model", blob(0, 2**62), r"larger than Caffe takes"),
    "few values for a large shape": ("model", blob(1 << 30, data=b"1234"), r"wants 1073741824 values and has 1"),
    "33 axes": ("model", blob(*[1] * 33), r"32 axes"),
    "300,001 layers": ("model", b"\xa2\x06\x00" * 300_001, r"more than 300000 fields"),
    "groups in groups": ("model", b"\x13" * 1_000_000, r"is a group"),
    "layers in layers": ("model", delimited(100, delimited(2, b"\xa2\x06") * 1000), r"not UTF-8|damaged"),
    "name that is not UTF-8": ("model", delimited(100, delimited(1, b"\xff\xfe")), r"not UTF-8"),
    "picture": ("model", b"\x89PNG\r\n\x1a\n" + bytes(100), r"this is an image"),
    "gzip": ("model", gzip.compress(MODEL), r"this is packed by gzip; unpack it first"),
    "state as model": ("model", b"\x08\x05", r"solver's state"),
    "state cut short": ("state", b"\x08\x05\x1a\xff\x01", r"says 255 bytes"),
    "model as state": ("state", MODEL, r"net with weights"),
    "blob of nothing but sizes": (
        "blob", b"".join(tag(i, 0) + varint(2**31 - 1) for i in (1, 2, 3, 4)), r"larger than Caffe takes"
    ),
    "unclosed braces": ("model", b"layer { name: 'a' " * 50_000, r":1:19: layer has no field 'layer'"),
    "brackets": ("model", b"input_dim: " + b"[" * 1_000_000, r"input_dim wants a whole number"),
    "braces only": ("model", b"{" * 5_000_000, r"expected a field of net"),
    "spaces before a mistake": ("model", b"name: 'a'" + b" " * 5_000_000 + b"=", r"unexpected character"),
    "string without end": ("model", b'name: "' + b"a" * 5_000_000, r"is not closed"),
    "string in 300,000 parts": ("model", b"name: " + b'"a" ' * 300_000 + b"=", r"unexpected character"),
    "number of a million digits": ("model", b"input_dim: " + b"9" * 1_000_000, r"wants a whole number"),
    "text that is not UTF-8": ("model", b'name: "\xff\xfe"', r"not UTF-8"),
    "text with zero bytes": ("model", b'name: "a"\0\0\0', r"a zero byte stands here"),
    "solver of one field a million times": ("solver", b"test_iter: 1 " * 300_000 + b"base_lr: 1 base_lr: 1", r"twice"),
    "negative dim": ("net", INPUT.replace("dim: 3", "dim: -3"), r"no axis may be negative"),
    "dims whose product overflows": ("net", INPUT.replace("dim: 9", "dim: 4294967296"), r"Caffe's 2147483647"),
    "weights of 4 TB": ("net", layer("InnerProduct", "inner_product_param { num_output: 4000000000 }"), r"would be"),
    "weights of 6 GB": ("net", layer("InnerProduct", "inner_product_param { num_output: 6000000 }"), r"needs 5.8 GB"),
    "kernel of 4 billion": (
        "net", layer("Convolution", "convolution_param { num_output: 1 kernel_size: 4000000000 }"), r"blob 0 would be"
    ),
    "tiles": ("net", layer("Tile", "tile_param { tiles: 2000000000 }"), r"a top would be"),
    "pyramid": ("net", layer("SPP", "spp_param { pyramid_height: 2000000000 }"), r"too small for"),
    "bottoms in a circle": ("net", LINK.format("q", "p") + LINK.format("p", "q"), r"'q', which no layer above makes"),
    "layer that reads itself": ("net", LINK.format("a", "a"), r"no layer above makes"),
    "10,000 layers and a mistake": (
        "model", chain(10_000) + "laier {}", r":10002:1: net has no field 'laier'"
    ),
    "10,000 layers of which the first has no bottom": ("net", chain(10_000), r"bottom 0 is 't0'"),
}  # fmt: skip


def hdf5_weights(path: Path, **options: Any) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("data/a/0", **options)


def bomb(path: Path) -> None:
    """Zeros deflated a thousandfold: 512 MB in half a megabyte."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data/a/0", (1 << 27,), "f4", chunks=(1 << 22,), compression="gzip")
        raw = zlib.compress(bytes(1 << 24), 9)
        for start in range(0, 1 << 27, 1 << 22):
            data.id.write_direct_chunk((start,), raw)


def large_chunk(path: Path) -> None:
    """One value in a chunk of 4 GB, of which only a kilobyte is stored."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data/a/0", (1,), "f4", maxshape=(None,), chunks=(1 << 29,), compression="gzip")
        data.id.write_direct_chunk((0,), zlib.compress(bytes(1 << 20), 9))


def many_sets(path: Path) -> None:
    """2,000 data sets of a megabyte each, none of it stored."""
    with h5py.File(path, "w") as file:
        for i in range(2000):
            file.create_dataset(f"data/a/{i}", (1 << 18,), "f4")


def huge_data(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (1 << 40,), "f4")


def lmdb_of(record: bytes) -> Callable[[Path], None]:
    return lambda path: void(write_database(path, [(b"0", record)]))


def void(_: object) -> None:
    return None


def other_word_size(path: Path) -> None:
    path.mkdir()
    (path / "data.mdb").write_bytes(bytes(16) + struct.pack(">II", 0xBEEFC0DE, 1) + bytes(4096))


def cut_lmdb(path: Path) -> None:
    write_database(path, [(b"%05d" % i, bytes(5000)) for i in range(20)])
    file = path / "data.mdb"
    file.write_bytes(file.read_bytes()[:20_000])


MADE: dict[str, tuple[str, Callable[[Path], None], str]] = {  # name -> action, what makes the file, what the error says
    "data set of 16 GB of which nothing is stored": (
        "weights", lambda path: hdf5_weights(path, shape=(1 << 32,), dtype="f4"), r"should have 17179869184 bytes"
    ),
    "deflated zeros": ("weights", bomb, r"should have 536870912 bytes"),
    "chunk of 2 GB round one value": ("weights", large_chunk, r"has chunks of 2147483648 bytes"),
    "2,000 data sets of which nothing is stored": ("weights", many_sets, r"should have 1048576 bytes, 0 are stored"),
    "hdf5 data of 4 TB": ("data_h5", huge_data, r"dataset 'data' of shape .* 0 are stored|Caffe's"),
    "hdf5 cut short": (
        "weights", lambda path: void(path.write_bytes(HDF5_MODEL[:3000])), r"cannot be read as HDF5"
    ),
    "hdf5 weights as state": (
        "state_h5", lambda path: hdf5_weights(path, data=np.zeros(3, "f4")), r"no group /history"
    ),
    "datum that says 2 GB": ("database", lmdb_of(tag(4, 2) + varint(1 << 31) + b"a"), r"record 0 is damaged: field 4"),
    "datum of negative size": (
        "database", lmdb_of(b"\x08" + varint(-1) + b"\x10\x01\x18\x01\x22\x01a"), r"holds 1 values"
    ),
    "datum of overflowing size": (
        "database", lmdb_of(b"".join(tag(i, 0) + varint(2**62) for i in (1, 2, 3)) + b"\x22\x01a"), r"holds 1 values"
    ),
    "lmdb of another machine": ("database", other_word_size, r"another word size or byte order"),
    "lmdb cut short": ("database", cut_lmdb, r"is cut short"),
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[float, str, str, int]]:
    """What a process of little memory said of each file: seconds, type of the error, message, bytes."""
    folder, jobs = tmp_path_factory.mktemp("hostile"), []
    for number, (name, (action, content, _)) in enumerate(CONTENT.items()):
        path = folder / f"bytes{number}"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        jobs.append((name, action, str(path)))
    for number, (name, (action, make, _)) in enumerate(MADE.items()):
        path = folder / f"made{number}"
        make(path)
        jobs.append((name, action, str(path)))
    (folder / "jobs.json").write_text(json.dumps(jobs))
    command = [sys.executable, "-m", "tests.fuzz.limited", str(folder / "jobs.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", [*CONTENT, *MADE])
def test_hostile_file_gets_one_clear_line_in_time(name: str, found: dict[str, tuple[float, str, str, int]]) -> None:
    seconds, kind, message, memory = found[name]
    assert kind == "CaffeCompatError", f"{kind}: {message}"
    assert re.search({**CONTENT, **MADE}[name][2], message), message
    assert "\n" not in message and len(message) < 1000
    assert seconds < 2 and memory < 500e6
