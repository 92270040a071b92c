"""ImageNet as ILSVRC2012 publishes it -> the databases that Caffe's examples/imagenet/create_imagenet.sh makes.

A label is the line of the image's synset in the synset list, from 0 (Caffe's data/ilsvrc12/synsets.txt); the labels of
the validation images come from Caffe's val.txt, or from folders named after their synsets.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from caffe_compat.data.image_lists import read_image_list
from caffe_compat.data.imageset import Conversion, make_imageset
from caffe_compat.data.stored_images import Place, stored_images
from caffe_compat.data.writing import partial_folder
from caffe_compat.errors import DataError

IMAGENET_PARTS = ("train", "val")
_LISTS = ("synsets.txt", "synset_words.txt")
_SHOWN = 3
Entries = list[tuple[str, int]]
_log = logging.getLogger(__name__)


def make_imagenet(
    source: Path,
    out: Path,
    conversion: Conversion | None = None,
    parts: Sequence[str] = IMAGENET_PARTS,
    synsets: Path | None = None,
    seed: int = 0,
    workers: int | None = None,
    resume: bool = True,
) -> list[tuple[Path, int, list[str]]]:
    """Write ilsvrc12_train_lmdb and ilsvrc12_val_lmdb into `out`, shuffled; each with its count and its bad images.

    source: a folder with ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar or folders train and val, the synset list
    and val.txt. conversion: default 256 x 256. With `resume` an interrupted run is gone on with, and a database that
    is there is kept (count 0). DataError names everything that is missing before anything is written.
    """
    conversion = conversion or Conversion(256, 256)
    if not source.is_dir():
        raise DataError(f"{source}: no such folder; wanted one with ILSVRC2012_img_train.tar or a folder train")
    labels = _synset_labels(source, synsets)
    found = {part: _found(source, part) for part in parts}
    listed = {part: _entries(part, source, place, labels) for part, place in found.items()}
    made = []
    for part, (entries, images) in listed.items():
        path = out / f"ilsvrc12_{part}_lmdb"
        if resume and path.exists():
            _log.info("%s: is there already and is kept", path)
            made.append((path, 0, list[str]()))
            continue
        _check_settings(path, f"{conversion} {seed} {hashlib.sha256(repr(entries).encode()).hexdigest()}", resume)
        count, bad = make_imageset(entries, "", path, "LMDB", conversion, True, seed, workers, resume, _Reader(images))
        _settings_file(path).unlink(missing_ok=True)
        made.append((path, count, bad))
    return made


class _Reader:
    """The bytes of an image by the name that its list entry has."""

    def __init__(self, images: Mapping[str, Place]) -> None:
        self._images = images

    def __call__(self, name: Path) -> bytes:
        return self._images[name.as_posix()].read()


def _synset_labels(source: Path, synsets: Path | None) -> dict[str, int]:
    for path in [synsets] if synsets else [source / name for name in _LISTS]:
        if path.is_file():
            names = [line.split()[0] for line in path.read_text().splitlines() if line.strip()]
            if len(set(names)) < len(names) or not names:
                raise DataError(f"{path}: wanted one synset a line, each once; found {len(names)} lines")
            return {name: label for label, name in enumerate(names)}
    if synsets:
        raise DataError(f"{synsets}: no such file; wanted a list of one synset a line")
    raise DataError(
        f"{source}: no synsets.txt there, which numbers the classes; it is in Caffe's caffe_ilsvrc12.tar.gz"
    )


def _found(source: Path, part: str) -> Path:
    names = f"ILSVRC2012_img_{part}.tar", part, f"ILSVRC2012_img_{part}", f"Data/CLS-LOC/{part}"
    for name in names:
        if (source / name).exists():
            return source / name
    raise DataError(f"{source}: no images of part {part} there; wanted one of {', '.join(names)}")


def _entries(part: str, source: Path, place: Path, labels: Mapping[str, int]) -> tuple[Entries, dict[str, Place]]:
    """The (name, label) of every image of `part`, and where each lies."""
    images = stored_images(place)
    if not images:
        raise DataError(f"{place}: no images there (.JPEG, .jpg, .png)")
    in_folders = all("/" in name for name in images)
    if part == "val" and not (in_folders and {name.split("/")[0] for name in images} <= set(labels)):
        return _by_list(source / "val.txt", place, images, len(labels))
    if not in_folders:
        name = next(name for name in images if "/" not in name)
        raise DataError(f"{place}: {name} is in no folder or tar named after a synset")
    seen = {name.split("/")[0] for name in images}
    if unknown := sorted(seen - set(labels)):
        raise DataError(f"{place}: {_some(unknown)} not in the synset list; give the right one with --synsets")
    if missing := sorted(set(labels) - seen):
        raise DataError(f"{place}: no images of {_some(missing)}, which the synset list names")
    return [(name, labels[name.split("/")[0]]) for name in sorted(images)], images


def _by_list(path: Path, place: Path, images: Mapping[str, Place], classes: int) -> tuple[Entries, dict[str, Place]]:
    """As `_entries`, with the labels that a list such as Caffe's val.txt gives."""
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; it gives the labels of {place}, and is in Caffe's caffe_ilsvrc12.tar.gz"
        )
    entries = read_image_list(path)
    flat = {name.rsplit("/", 1)[-1]: where for name, where in images.items()}
    if missing := [name for name, _ in entries if name not in flat]:
        raise DataError(f"{place}: {_some(missing)} not there, which {path.name} names")
    for name, label in entries:
        if not 0 <= label < classes:
            raise DataError(f"{path}: {name} has label {label}; the synset list has {classes} lines")
    return entries, flat


def _some(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest


def _settings_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial.txt")


def _check_settings(path: Path, settings: str, resume: bool) -> None:
    """DataError where an unfinished database was begun from other images or with other settings."""
    file = _settings_file(path)
    if resume and partial_folder(path).exists() and (not file.exists() or file.read_text() != settings):
        raise DataError(f"{partial_folder(path)}: was begun with other images or settings; use --no-resume")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(settings)
