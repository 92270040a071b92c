"""scikit-learn's handwritten digits as the two LMDBs that net.prototxt reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import caffe_compat as cc

EVERY = 4  # one image in four tests, the others train: 449 and 1,348


def prepare(folder: Path) -> None:
    """Write digits_train_lmdb and digits_test_lmdb into `folder`, unless they are there; the same bytes every time."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = digits.images.astype(np.uint8)  # (1797, 8, 8), 0 to 16
    tests = np.arange(len(images)) % EVERY == EVERY - 1
    parts = {"digits_train_lmdb": ~tests, "digits_test_lmdb": tests}
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        if not (folder / name).exists():
            cc.write_lmdb(folder / name, records(images[part], digits.target[part]))


def records(images: np.ndarray, labels: np.ndarray) -> list[tuple[bytes, bytes]]:
    """Keys and Datum records of grey images (number, height, width), in their order."""
    return [
        (b"%08d" % number, cc.encode_datum(image[np.newaxis], int(label)))
        for number, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
