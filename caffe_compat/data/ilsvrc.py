"""The labels of ILSVRC2012, from Caffe's lists (data/ilsvrc12/get_ilsvrc_aux.sh) or from the development kit.

A label is the line of a synset in Caffe's synsets.txt, from 0; the lines are in alphabetical order. The kit numbers
synsets in another order: meta.mat says which number is which synset, and ILSVRC2012_validation_ground_truth.txt has
the number of each validation image, a line each.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from caffe_compat.data.archives import archived
from caffe_compat.data.image_lists import read_image_list
from caffe_compat.errors import DataError
from caffe_compat.proto.reading import check_regular, read_bytes, read_lines

Entries = list[tuple[str, int]]
_LISTS = ("synsets.txt", "synset_words.txt")
_KITS = ("ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_devkit_t12", "devkit")
_META, _TRUTH = "meta.mat", "ILSVRC2012_validation_ground_truth.txt"
_VALIDATION_IMAGE = "ILSVRC2012_val_{:08d}.JPEG"


def synset_labels(source: Path, given: Path | None = None) -> dict[str, int] | None:
    """The label of every synset by the list `given`, a list in `source`, or the kit there; None if there is none."""
    if given:
        if not given.exists():
            raise DataError(f"{given}: no such file; wanted a list of one synset a line")
        check_regular(given)
    for path in [given] if given else [source / name for name in _LISTS]:
        if path.is_file():
            names = [line.split()[0] for line in read_lines(path) if line.strip()]
            if len(set(names)) < len(names) or not names:
                raise DataError(f"{path}: wanted one synset a line, each once; found {len(names)} lines")
            return {name: label for label, name in enumerate(names)}
    meta = _kit_file(source, _META)
    return {name: label for label, name in enumerate(sorted(_numbered_synsets(*meta).values()))} if meta else None


def validation_list(source: Path, labels: dict[str, int] | None) -> tuple[Path, Entries]:
    """The (name, label) of every validation image, and the file that says so: val.txt, or the kit's ground truth.

    DataError where there is neither, or a label is beyond those of `labels`.
    """
    path = source / "val.txt"
    truth, meta = _kit_file(source, _TRUTH), _kit_file(source, _META)
    if path.is_file():
        entries = read_image_list(path)
    elif truth and meta and labels:
        path, synsets = truth[0], _numbered_synsets(*meta)
        entries = _ground_truth(*truth, {number: labels.get(name, -1) for number, name in synsets.items()})
    else:
        raise DataError(
            f"{path}: no such file; it gives the labels of the validation images, and is in Caffe's "
            f"caffe_ilsvrc12.tar.gz; {_KITS[0]} there does too"
        )
    for name, label in entries:
        if label < 0 or (labels and label >= len(labels)):
            raise DataError(f"{path}: {name} has label {label}; the synset list has {len(labels or ())} lines")
    return path, entries


def _ground_truth(path: Path, content: bytes, labels: dict[int, int]) -> Entries:
    entries = []
    for line, word in enumerate(content.split(), 1):
        if not word.isdigit() or int(word) not in labels:
            raise DataError(f"{path}: {_TRUTH}:{line}: '{word.decode(errors='replace')}' is no number of a synset")
        entries.append((_VALIDATION_IMAGE.format(line), labels[int(word)]))
    return entries


def _numbered_synsets(path: Path, content: bytes) -> dict[int, str]:
    """The synsets that have images, by the kit's number."""
    from scipy.io import loadmat

    try:
        rows: Any = loadmat(io.BytesIO(content), squeeze_me=True)["synsets"]
        return {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in rows if not int(row["num_children"])}
    except MemoryError:
        raise
    except Exception as error:  # scipy's reader meets a damaged file with nearly any
        raise DataError(f"{path}: {_META} has no table of synsets that can be read ({error}); get it again") from error


def _kit_file(source: Path, name: str) -> tuple[Path, bytes] | None:
    """The development kit in `source`, packed or not, and the bytes of the file `name` in it; None where it lacks."""
    for kit in (source / each for each in _KITS):
        for path in (kit / "data" / name, kit / name):
            if path.is_file():
                return path, read_bytes(path, DataError)
        if kit.is_file():
            for content in archived(kit, name):
                return kit, content
    return None
