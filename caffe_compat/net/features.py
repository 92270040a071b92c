"""What a net computes, batch after batch, as databases: one record of floats an item (Caffe's extract_features.cpp)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import Full, Queue

import numpy as np
import torch
from torch import Tensor

from caffe_compat.data.databases import write_database
from caffe_compat.data.datum import encode_datum
from caffe_compat.errors import DataError, GraphError, ShapeError
from caffe_compat.graph.splits import split_blobs
from caffe_compat.net.net import Net
from caffe_compat.proto.files import write_atomically
from caffe_compat.showing import nearest

_AHEAD = 2  # batches that a writer may lag behind
Batch = list[tuple[bytes, bytes]]


def extract_features(
    net: Net, names: Sequence[str], paths: Sequence[Path], batches: int, backend: str = "LMDB"
) -> list[int]:
    """Write blob `names[i]` of `batches` batches of the net's own data to a new database at `paths[i]`; gives counts.

    A record is a Datum of one item's channels, height and width (1 for axes that the blob lacks) with float_data and
    no label; keys count from 0, ten digits. GraphError for a blob that the net lacks, ShapeError for one of more than
    four axes, DataError where a database cannot be written; then none of the databases stays unfinished.
    """
    _check(net, names, paths, batches)
    for path in paths:
        if path.exists():
            raise DataError(f"{path}: exists already; remove it or choose another place")
    for name in names:
        if len(net.shapes[name]) > 4:
            raise ShapeError(
                f"blob '{name}' has shape {net.shapes[name]}; a record takes four axes at most, npy takes any"
            )
    queues: list[Queue[Batch | Exception | None]] = [Queue(_AHEAD) for _ in names]
    with ThreadPoolExecutor(len(names), "extract") as pool:
        pairs = zip(paths, queues, strict=True)
        writers = [pool.submit(write_database, path, _taken(queue), backend) for path, queue in pairs]
        last: Exception | None = None
        try:
            for batch in _computed(net, names, batches):
                for queue, records, writer in zip(queues, batch, writers, strict=True):
                    _put(queue, records, writer)
        except Exception as error:
            last = error
            raise
        except BaseException:
            last = DataError("interrupted")
            raise
        finally:
            for queue, writer in zip(queues, writers, strict=True):
                _put(queue, last, writer)
    return [writer.result() for writer in writers]


def _check(net: Net, names: Sequence[str], paths: Sequence[Path], batches: int) -> None:
    if len(names) != len(paths) or not names:
        raise DataError(f"{len(names)} blobs for {len(paths)} databases: name one database for each blob")
    if len(set(paths)) < len(paths):
        raise DataError(f"{', '.join(map(str, paths))}: one database twice; each blob goes to its own")
    if batches < 1:
        raise DataError(f"{batches} batches: must be 1 or more")
    for name in names:
        if name not in net.shapes:
            copies = split_blobs(node.param for node in net.graph.nodes)
            known = [blob for blob in net.shapes if blob not in copies]
            raise GraphError(f"net '{net.graph.name}' has no blob '{name}'; {nearest(name, known)}")


def _computed(net: Net, names: Sequence[str], batches: int) -> Iterator[list[Batch]]:
    """For each batch, the records of every blob of `names`."""
    counts, run = [0] * len(names), _giving(net, names)
    for _ in range(batches):
        blobs = run()
        made = []
        for place, name in enumerate(names):
            items = blobs[name].detach().cpu().numpy().astype(np.float32, copy=False)
            items = items.reshape(items.shape + (1,) * (4 - items.ndim))
            made.append([(b"%010d" % n, encode_datum(item, None)) for n, item in enumerate(items, counts[place])])
            counts[place] += len(items)
        yield made


def _giving(net: Net, names: Sequence[str]) -> Callable[[], Mapping[str, Tensor]]:
    """What gives the blobs of the net's next batch, those of `names` at least."""
    return net.prepare(names) if net.graph.phase == "TEST" else torch.inference_mode()(net.blobs)


def _put(queue: Queue[Batch | Exception | None], what: Batch | Exception | None, writer: Future[int]) -> None:
    """Hand `what` to a writer; its own error where it gave up."""
    while not writer.done():
        try:
            return queue.put(what, timeout=0.1)
        except Full:
            continue
    if isinstance(what, list):
        writer.result()


def _taken(queue: Queue[Batch | Exception | None]) -> Iterator[tuple[bytes, bytes]]:
    """What the queue gives, up to None; an exception there is raised, so that the writer clears up."""
    while (batch := queue.get()) is not None:
        if isinstance(batch, Exception):
            raise DataError("no more records") from batch
        yield from batch


def extract_arrays(net: Net, names: Sequence[str], paths: Sequence[Path], batches: int) -> list[int]:
    """As `extract_features`, with each blob as one array in a .npy file: (items, ...), float32, any number of axes.

    Batches are written as they come, whole files or none. A blob without axes, such as a loss, has one item a batch.
    """
    _check(net, names, paths, batches)
    with ExitStack() as stack:
        files = [_ArrayFile(stack.enter_context(write_atomically(path))) for path in paths]
        for file in files:
            stack.callback(file.close)
        run = _giving(net, names)
        for _ in range(batches):
            blobs = run()
            for name, file in zip(names, files, strict=True):
                file.append(np.atleast_1d(blobs[name].detach().float().cpu().numpy()), name)
        for file in files:
            file.finish()
    return [file.items for file in files]


class _ArrayFile:
    """A .npy file that grows along its first axis; its header has room for the count, which comes last."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb")  # noqa: SIM115 - closed by the stack of `extract_arrays`
        self._shape: tuple[int, ...] | None = None
        self.items = 0

    def append(self, values: np.ndarray, name: str) -> None:
        if self._shape is None:
            self._shape = values.shape[1:]
            self._write_header()
        if values.shape[1:] != self._shape:
            raise ShapeError(
                f"blob '{name}' is {values.shape[1:]} an item, before it was {self._shape}; one array has one"
            )
        self._file.write(np.ascontiguousarray(values, np.float32).data)
        self.items += len(values)

    def finish(self) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _write_header(self) -> None:
        header = {"descr": "<f4", "fortran_order": False, "shape": (self.items, *(self._shape or ()))}
        np.lib.format.write_array_header_1_0(self._file, header)
