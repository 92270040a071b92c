"""HDF5 files -> batches of arrays, as Caffe's HDF5Data reads them (hdf5_data_layer.cpp)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np

from caffe_compat.data.labels import MOST_RECORDS, StoredLabels
from caffe_compat.data.order import permutation
from caffe_compat.errors import DataError
from caffe_compat.proto.files import find_file
from caffe_compat.proto.hdf5_safety import Allowance, open_hdf5
from caffe_compat.proto.reading import read_lines

Shape = tuple[int, ...]
_NARROW = 16  # values of a row


def read_file_list(path: Path, folder: Path | None = None) -> list[Path]:
    """The HDF5 files that a list file names; DataError where the list or a file of it is missing.

    A line is one name, which may have spaces; where no such file is there, it is several names, as Caffe takes it.
    """
    files = []
    for line in map(str.strip, read_lines(path)):
        whole = any(os.path.exists(place / line) for place in (Path(), path.parent, folder) if place is not None)
        names = [line] if whole else line.split()
        files += [find_file(name, path.parent, folder, named_by=str(path)) for name in names if name]
    if not files:
        raise DataError(f"{path}: the list is empty; it should name one HDF5 file a line")
    return files


class HDF5Batches:
    """Batches of the datasets `names`, row by row through `files`, over and over.

    Batch b holds rows b * batch_size onwards, counted through all files and wrapping at their end; each dataset has
    its rows on axis 0 and comes as float32. `shuffle` draws, for every pass, an order of the files and an order of
    the rows in each; both follow from `seed` and the number of the pass, so any batch can be read again. Of `ranks`
    readers, number `rank` gets every ranks-th row.
    """

    def __init__(
        self,
        files: Sequence[Path],
        names: Sequence[str],
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.files, self.names, self.batch_size = list(files), list(names), batch_size
        self.shuffle, self.seed, self.rank, self.ranks = shuffle, seed, rank, ranks
        self._loaded: tuple[int, list[np.ndarray]] | None = None
        inspected = [self._inspect(file) for file in self.files]
        self._rows = [rows for rows, _ in inspected]
        self.row_shapes: list[Shape] = inspected[0][1]
        for file, (_, shapes) in zip(self.files, inspected, strict=True):
            if shapes != self.row_shapes:
                raise DataError(f"{file}: rows of shape {shapes}, but {self.files[0]} has {self.row_shapes}")
        if not sum(self._rows):
            raise DataError(f"{self.files[0]}: no rows in any of the {len(self.files)} files of the list")

    @property
    def shapes(self) -> list[Shape]:
        """The shape of a batch of every dataset."""
        return [(self.batch_size, *shape) for shape in self.row_shapes]

    def read(self, index: int) -> tuple[np.ndarray, ...]:
        """Batch `index`, counted from 0; one float32 array for each name."""
        batch = tuple(np.empty(shape, np.float32) for shape in self.shapes)
        filled = 0
        start, seen = index * self.batch_size * self.ranks, 0
        for file, rows in self._spans(start, self.batch_size * self.ranks):
            mine = rows[(self.rank - seen) % self.ranks :: self.ranks]
            for target, dataset in zip(batch, self._load(file), strict=True):
                target[filled : filled + len(mine)] = dataset[mine]
            filled, seen = filled + len(mine), seen + len(rows)
        return batch

    def peek(self) -> tuple[np.ndarray, ...]:
        """The first rows, of one batch at most, with a look at the last row of every file."""
        found: list[np.ndarray] = []
        for file in self.files:
            with open_hdf5(file, DataError) as handle:
                for name in self.names:
                    rows, allowed = handle[name], Allowance(file).problem(handle[name])
                    if allowed:
                        raise DataError(f"{file}: dataset '{name}' {allowed}")
                    np.asarray(rows[-1:], np.float32)
                    found.append(np.asarray(rows[: self.batch_size], np.float32))
        return tuple(found[: len(self.names)])

    def labels(self) -> StoredLabels:
        """The first rows of each dataset whose rows are small, as those of labels are; wide ones are left out."""
        narrow = [top for top, shape in enumerate(self.row_shapes) if math.prod(shape) <= _NARROW]
        found: dict[int, list[np.ndarray]] = {top: [] for top in narrow}
        left = MOST_RECORDS
        for file, rows in zip(self.files, self._rows, strict=True):
            taken = min(left, rows)
            if not taken or not narrow:
                break
            with open_hdf5(file, DataError) as handle:
                for top in narrow:
                    found[top].append(np.asarray(handle[self.names[top]][:taken], np.float32))
            left -= taken
        return StoredLabels({top: np.concatenate(found[top]) for top in narrow}, MOST_RECORDS - left, sum(self._rows))

    def close(self) -> None:
        """Let go of the file held in memory."""
        self._loaded = None

    def _spans(self, start: int, count: int) -> Iterator[tuple[int, np.ndarray]]:
        """(file, its rows) that make `count` rows from row `start` on."""
        total = sum(self._rows)
        while count:
            epoch, row = divmod(start, total)
            order = permutation(len(self.files), self.seed, epoch) if self.shuffle else np.arange(len(self.files))
            for file in order:
                if row < self._rows[file]:
                    break
                row -= self._rows[file]
            taken = min(count, self._rows[file] - row)
            rows = np.arange(row, row + taken)
            if self.shuffle:
                rows = permutation(self._rows[file], self.seed, epoch, int(file) + 1)[rows]
            yield int(file), rows
            start, count = start + taken, count - taken

    def _inspect(self, file: Path) -> tuple[int, list[Shape]]:
        with open_hdf5(file, DataError) as handle:
            missing = [name for name in self.names if not isinstance(handle.get(name), h5py.Dataset)]
            if missing:
                raise DataError(
                    f"{file}: no dataset '{missing[0]}'; tops are named after datasets, and it has {', '.join(handle)}"
                )
            shapes = [tuple(handle[name].shape or ()) for name in self.names]
            problems = [(name, Allowance(file).misfit(handle[name])) for name in self.names]
        for name, problem in problems:
            if problem:
                raise DataError(f"{file}: dataset '{name}' {problem}")
        if any(not shape for shape in shapes) or len({shape[0] for shape in shapes}) > 1:
            found = ", ".join(f"{name} {shape}" for name, shape in zip(self.names, shapes, strict=True))
            raise DataError(f"{file}: datasets need the same number of rows on axis 0, found {found}")
        return shapes[0][0], [shape[1:] for shape in shapes]

    def _load(self, file: int) -> list[np.ndarray]:
        if self._loaded is None or self._loaded[0] != file:
            path = self.files[file]
            allowance = Allowance(path)
            with open_hdf5(path, DataError) as handle:
                for name in self.names:
                    problem = allowance.problem(handle[name])
                    if problem:
                        raise DataError(f"{path}: dataset '{name}' {problem}")
                self._loaded = file, [np.asarray(handle[name], np.float32) for name in self.names]
        return self._loaded[1]
