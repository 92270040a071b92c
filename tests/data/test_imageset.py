"""Databases of image files equal those of convert_imageset, record for record."""

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from caffe_compat.data.databases import open_database
from caffe_compat.data.datum import parse_datum
from caffe_compat.data.image_lists import read_image_list
from caffe_compat.data.images import encode_image, read_image
from caffe_compat.data.imageset import Conversion, make_imageset
from caffe_compat.data.writing import new_database
from caffe_compat.errors import DataError
from tests.conftest import golden
from tests.data.refusals import error_of

cv2 = pytest.importorskip("cv2")

CASES = {
    "raw_lmdb": ("list.txt", Conversion()),
    "raw_leveldb": ("list.txt", Conversion()),
    "png_lmdb": ("list.txt", Conversion(encoded=True, encode_type="png")),
    "jpg_lmdb": ("list.txt", Conversion(encoded=True, encode_type="jpg")),
    "gray_resized_lmdb": ("list.txt", Conversion(16, 18, gray=True)),
    "var_resized_lmdb": ("list_var.txt", Conversion(17, 15)),
    "encoded_mixed_leveldb": ("list.txt", Conversion(encoded=True)),
}
# README-layers.md, Tolerances: PNG and raw exact, JPEG 2, OpenCV's resize 1, grey with resize 2
LEVELS = {"jpg_lmdb": 2, "gray_resized_lmdb": 2, "var_resized_lmdb": 1}


def contents(path):
    """Keys, labels and images of a database."""
    database = open_database(path)
    datums = [parse_datum(bytes(record)) for record in database.records()]
    keys = list(database.key_order())
    database.close()
    return keys, [datum.label for datum in datums], [pixels(datum) for datum in datums], [d.encoded for d in datums]


def pixels(datum):
    if not datum.encoded:
        return datum.array().transpose(1, 2, 0)
    image = cv2.imdecode(np.frombuffer(datum.data, np.uint8), cv2.IMREAD_UNCHANGED)
    return image if image.ndim == 3 else image[:, :, None]


@pytest.mark.parametrize("name", CASES)
def test_the_database_equals_caffes(name, tmp_path, monkeypatch):
    monkeypatch.chdir(golden("formats"))
    list_file, conversion = CASES[name]
    backend = name.rpartition("_")[2].upper()
    written, bad = make_imageset(read_image_list(Path(list_file)), "images/", tmp_path / name, backend, conversion)
    keys, labels, images, encoded = contents(tmp_path / name)
    wanted = contents(Path("db") / name)
    assert (keys, labels, encoded) == (wanted[0], wanted[1], wanted[3])
    assert (written, bad) == (len(keys), [])
    for image, reference in zip(images, wanted[2], strict=True):
        np.testing.assert_allclose(image.astype(int), reference.astype(int), rtol=0, atol=LEVELS.get(name, 0))


@pytest.fixture
def photos(tmp_path):
    """A folder of 25 small images, some with spaces in their names, and their list."""
    random = np.random.RandomState(0)
    entries = []
    for number in range(25):
        name = f"photo {number}.png" if number % 2 else f"photo{number}.png"
        content = encode_image(random.randint(0, 256, (6, 5, 3)).astype(np.uint8), "png")
        (tmp_path / name).write_bytes(content)
        entries.append((name, number))
    return f"{tmp_path}/", entries


def test_records_keep_their_order_whatever_thread_made_them(photos, tmp_path):
    root, entries = photos
    make_imageset(entries, root, tmp_path / "db", workers=7)
    keys, labels, images, _ = contents(tmp_path / "db")
    assert keys == [f"{number:08d}_{name}".encode() for number, (name, _) in enumerate(entries)]
    assert labels == list(range(25))
    for (name, _), image in zip(entries, images, strict=True):
        np.testing.assert_array_equal(image, read_image(Path(root + name)))


def test_shuffle_keeps_every_image_and_repeats_with_its_seed(photos, tmp_path):
    root, entries = photos
    orders = []
    for run, seed in enumerate((1, 1, 2)):
        make_imageset(entries, root, tmp_path / f"db{run}", shuffle=True, seed=seed)
        orders.append(contents(tmp_path / f"db{run}")[1])
    assert sorted(orders[0]) == list(range(25)) and orders[0] == orders[1] != orders[2] != list(range(25))


def test_a_missing_image_is_named_and_nothing_is_left(photos, tmp_path):
    root, entries = photos
    os.remove(root + "photo 7.png")
    assert "photo 7.png: the image cannot be read (No such file" in error_of(
        make_imageset, entries, root, tmp_path / "db"
    )
    assert not (tmp_path / "db").exists() and not (tmp_path / "db.partial").exists()


def test_skip_bad_leaves_out_and_tells_which(photos, tmp_path):
    root, entries = photos
    os.remove(root + "photo 7.png")
    Path(root + "photo8.png").write_bytes(Path(root + "photo8.png").read_bytes()[:60])
    written, bad = make_imageset(entries, root, tmp_path / "db", conversion=Conversion(skip_bad=True))
    assert (written, bad) == (23, ["photo 7.png", "photo8.png"])
    assert contents(tmp_path / "db")[1] == [n for n in range(25) if n not in (7, 8)]


def test_check_size_names_the_image_that_differs(photos, tmp_path):
    root, entries = photos
    Path(root + "photo4.png").write_bytes(encode_image(np.zeros((6, 6, 3), np.uint8), "png"))
    message = error_of(make_imageset, entries, root, tmp_path / "db", conversion=Conversion(check_size=True))
    assert message == f"{root}photo4.png: has 108 values, images before it 90; resize them"


def test_check_size_looks_into_image_files_too(photos, tmp_path):
    root, entries = photos
    Path(root + "photo4.png").write_bytes(encode_image(np.zeros((6, 6, 3), np.uint8), "png"))
    message = error_of(
        make_imageset, entries, root, tmp_path / "db", conversion=Conversion(encoded=True, check_size=True)
    )
    assert message == f"{root}photo4.png: has 108 values, images before it 90; resize them"


def test_files_stored_as_they_are_stay_coloured_as_in_caffe_and_a_warning_says_so(photos, tmp_path, caplog):
    root, entries = photos
    make_imageset(entries[:2], root, tmp_path / "db", conversion=Conversion(gray=True, encoded=True))
    images = contents(tmp_path / "db")[2]
    assert [image.shape for image in images] == [(6, 5, 3)] * 2
    assert "gray has no effect on image files that are stored as they are" in caplog.text
    make_imageset(entries[:2], root, tmp_path / "db2", conversion=Conversion(gray=True, encode_type="png"))
    assert [image.shape for image in contents(tmp_path / "db2")[2]] == [(6, 5, 1)] * 2


@pytest.mark.parametrize("backend", ["LMDB", "LEVELDB"])
def test_an_interrupted_run_is_taken_up_where_it_stopped(photos, tmp_path, monkeypatch, backend):
    monkeypatch.setattr(f"caffe_compat.data.{backend.lower()}._COMMIT_EVERY", 5)
    root, entries = photos
    missing = Path(root + "photo 13.png").read_bytes()
    os.remove(root + "photo 13.png")
    error_of(make_imageset, entries, root, tmp_path / "db", backend, resume=True)
    assert (tmp_path / "db.partial").exists()
    Path(root + "photo 13.png").write_bytes(missing)
    os.remove(root + "photo0.png")  # stored already, so not read again
    written, _ = make_imageset(entries, root, tmp_path / "db", backend, resume=True)
    assert written == 25 and contents(tmp_path / "db")[1] == list(range(25))
    assert not (tmp_path / "db.partial").exists()


def test_an_unfinished_database_of_another_kind_is_not_added_to(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("caffe_compat.data.lmdb._COMMIT_EVERY", 5)
    root, entries = photos
    os.remove(root + "photo 13.png")
    error_of(make_imageset, entries, root, tmp_path / "db", resume=True)
    message = error_of(make_imageset, entries, root, tmp_path / "db", "LEVELDB", resume=True)
    assert message == f"{tmp_path}/db.partial: was begun as LMDB; remove it, or go on with that backend"


def test_one_new_size_alone_is_refused(photos, tmp_path):
    root, entries = photos
    message = error_of(make_imageset, entries, root, tmp_path / "db", conversion=Conversion(height=5))
    assert message == "resize_height and resize_width: give both, or neither"


def test_an_encoder_that_does_not_exist(photos, tmp_path):
    root, entries = photos
    message = error_of(make_imageset, entries, root, tmp_path / "db", conversion=Conversion(encode_type="xyz"))
    assert message == "OpenCV cannot encode images as 'xyz'; use png or jpg"


def test_a_place_that_cannot_be_written(photos, tmp_path):
    root, entries = photos
    (tmp_path / "file").touch()
    message = error_of(make_imageset, entries, root, tmp_path / "file" / "db")
    assert message.startswith(f"{tmp_path}/file/db: cannot be written (")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.EROFS, "Read-only file system"), "db: cannot be written (Read-only file system)"),
        (OSError("write failed, errno = 28, error message = 'x', buf = 0x55"), "(No space left on device)"),
        (ValueError(b"mdb_txn_commit: Input/output error"), "(No space left on device)"),
        (ValueError("another"), "db: cannot be written (another)"),
    ],
)
def test_why_a_database_cannot_be_written_is_what_the_system_said(tmp_path, monkeypatch, error, told):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=4096))
    with (
        pytest.raises(DataError) as refused,
        new_database(tmp_path / "db", resume=False, failures=(OSError, ValueError)),
    ):
        raise error
    assert str(refused.value).endswith(told) and not list(tmp_path.iterdir())
