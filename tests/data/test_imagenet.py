"""ILSVRC's tar files and folders become the same databases, shuffled, resized, resumable."""

import io
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import scipy.io

from caffe_compat.commands import main
from caffe_compat.data.databases import open_database, stored_keys
from caffe_compat.data.imagenet import make_imagenet
from caffe_compat.data.imageset import Conversion
from caffe_compat.data.order import permutation
from caffe_compat.errors import DataError
from caffe_compat.proto.schema import Datum

cv2 = pytest.importorskip("cv2")
SYNSETS = ["n02", "n01", "n03"]  # not in alphabetical order: a label is the line
VAL = [2, 0, 1, 1]


def picture(value, kind=".png"):
    return cv2.imencode(kind, np.full((12, 9, 3), value, np.uint8))[1].tobytes()


def train_files():
    return {s: {f"{s}_{i}.JPEG": picture(10 * k + i) for i in range(4)} for k, s in enumerate(sorted(SYNSETS))}


def val_files():
    return {f"ILSVRC2012_val_{i + 1:08d}.JPEG": picture(200 + i) for i in range(len(VAL))}


def tar_of(files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def as_tars(folder):
    train = tar_of({f"{synset}.tar": tar_of(files) for synset, files in train_files().items()})
    (folder / "ILSVRC2012_img_train.tar").write_bytes(train)
    (folder / "ILSVRC2012_img_val.tar").write_bytes(tar_of(val_files()))


def as_folders(folder):
    for synset, files in train_files().items():
        (folder / "train" / synset).mkdir(parents=True)
        for name, content in files.items():
            (folder / "train" / synset / name).write_bytes(content)
    (folder / "val").mkdir()
    for name, content in val_files().items():
        (folder / "val" / name).write_bytes(content)


def as_inner_tars(folder):
    as_folders(folder)
    for synset, files in train_files().items():
        (folder / "train" / f"{synset}.tar").write_bytes(tar_of(files))
        for name in files:
            (folder / "train" / synset / name).unlink()


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "synsets.txt").write_text("".join(f"{synset} a name\n" for synset in SYNSETS))
    rows = zip(val_files(), VAL, strict=True)
    (folder / "val.txt").write_text("".join(f"{name} {label}\n" for name, label in rows))
    return folder


def records_of(path):
    database = open_database(path)
    pairs = zip(database.key_order(), database.records(), strict=True)
    found = [(key.decode(), Datum.FromString(bytes(record))) for key, record in pairs]
    database.close()
    return [(key, d.label, (d.channels, d.height, d.width), d.data[0]) for key, d in found]


@pytest.mark.parametrize("lay", [as_tars, as_folders, as_inner_tars])
def test_records_hold_the_images_in_shuffled_order_with_the_synsets_lines_as_labels(source, tmp_path, lay):
    lay(source)
    made = make_imagenet(source, tmp_path, Conversion(8, 6), seed=5)
    assert [(path.name, count, bad) for path, count, bad in made] == [
        ("ilsvrc12_train_lmdb", 12, []),
        ("ilsvrc12_val_lmdb", 4, []),
    ]
    names = [f"{synset}/{name}" for synset, files in train_files().items() for name in files]
    wanted = []
    for line, place in enumerate(permutation(12, 5)):
        synset = names[place].split("/")[0]
        value = 10 * sorted(SYNSETS).index(synset) + int(names[place][-6])
        wanted.append((f"{line:08d}_{names[place]}", SYNSETS.index(synset), (3, 8, 6), value))
    assert records_of(made[0][0]) == wanted
    found = {key[9:]: (label, value) for key, label, _, value in records_of(made[1][0])}
    assert found == {name: (VAL[i], 200 + i) for i, name in enumerate(val_files())}


def test_a_val_folder_sorted_into_synsets_needs_no_list(source, tmp_path):
    (source / "val.txt").unlink()
    (source / "val" / "n03").mkdir(parents=True)
    for synset in SYNSETS:
        (source / "val" / synset).mkdir(exist_ok=True)
        (source / "val" / synset / "a.JPEG").write_bytes(picture(7))
    ((path, count, _),) = make_imagenet(source, tmp_path, parts=["val"])
    assert count == 3 and {(key[9:12], label) for key, label, *_ in records_of(path)} == {
        (synset, label) for label, synset in enumerate(SYNSETS)
    }
    assert records_of(path)[0][2] == (3, 256, 256)


def test_an_interrupted_run_is_gone_on_with_and_other_settings_are_refused(source, tmp_path):
    as_folders(source)
    make_imagenet(source, tmp_path / "whole")
    bad = source / "train" / "n03" / "n03_1.JPEG"
    good = bad.read_bytes()
    bad.write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"n03_1.JPEG: the image cannot be decoded"):
        make_imagenet(source, tmp_path / "out")
    assert (tmp_path / "out" / "ilsvrc12_train_lmdb.partial").exists()
    with pytest.raises(DataError, match=r"was begun with other images or settings; use --no-resume"):
        make_imagenet(source, tmp_path / "out", Conversion(8, 8))
    bad.write_bytes(good)
    make_imagenet(source, tmp_path / "out")
    for name in ("ilsvrc12_train_lmdb", "ilsvrc12_val_lmdb"):
        assert records_of(tmp_path / "out" / name) == records_of(tmp_path / "whole" / name)
    assert [count for _, count, _ in make_imagenet(source, tmp_path / "out")] == [0, 0]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["ilsvrc12_train_lmdb", "ilsvrc12_val_lmdb"]


def remove(name):
    return lambda source: (source / name).unlink()


def no_images(source):
    for path in source.glob("*.tar"):
        path.unlink()


@pytest.mark.parametrize("part", ["train", "val"])
def test_one_part_alone_is_made_where_the_other_is_not_there(source, tmp_path, part, capsys):
    as_tars(source)
    other = {"train": "val", "val": "train"}[part]
    (source / f"ILSVRC2012_img_{other}.tar").unlink()
    (source / "synsets.txt" if part == "val" else source / "val.txt").unlink()  # nor is it needed for that part
    words = ["data", "imagenet", "--from", str(source), "--out", str(tmp_path)]
    assert main(words) == 0
    assert [path.name for path in tmp_path.glob("ilsvrc12_*")] == [f"ilsvrc12_{part}_lmdb"]
    shutil.rmtree(tmp_path / f"ilsvrc12_{part}_lmdb")
    assert main([*words, "--part", other]) == 2
    wanted = f"no images of part {other} there; wanted one of ILSVRC2012_img_{other}.tar, {other},"
    assert wanted in capsys.readouterr().err


def development_kit(folder):
    """The kit's files; its numbers of n01, n02 and n03 are 3, 1 and 2, and a group of synsets follows them."""
    (folder / "data").mkdir(parents=True)
    fields = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")]
    rows = [(1, "n02", "b", "", 0), (2, "n03", "c", "", 0), (3, "n01", "a", "", 0), (4, "n00", "all", "", 3)]
    scipy.io.savemat(folder / "data" / "meta.mat", {"synsets": np.array(rows, fields).reshape(-1, 1)})
    numbers = {label: number for number, label in ((1, 1), (2, 2), (3, 0))}
    truth = "".join(f"{numbers[label]}\n" for label in VAL)
    (folder / "data" / "ILSVRC2012_validation_ground_truth.txt").write_text(truth)


@pytest.mark.parametrize("packed", [False, True])
def test_the_development_kit_says_the_labels_too(source, tmp_path, packed):
    as_tars(source)
    (source / "synsets.txt").unlink()
    (source / "val.txt").unlink()
    kit = (tmp_path if packed else source) / "ILSVRC2012_devkit_t12"
    development_kit(kit)
    if packed:
        with tarfile.open(source / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as archive:
            archive.add(kit, kit.name)
    (train, *_), (val, *_) = make_imagenet(source, tmp_path)
    assert {(key[9:12], label) for key, label, *_ in records_of(train)} == {("n01", 0), ("n02", 1), ("n03", 2)}
    assert {key[9:]: label for key, label, *_ in records_of(val)} == dict(zip(val_files(), VAL, strict=True))


def test_images_that_are_cmyk_or_png_by_their_content_are_read_as_opencv_reads_them(source, tmp_path):
    as_folders(source)
    odd = source / "train" / "n01"
    cmyk = io.BytesIO()
    pytest.importorskip("PIL.Image").new("CMYK", (9, 12), (0, 255, 255, 0)).save(cmyk, "JPEG", quality=95)  # red
    (odd / "n01_0.JPEG").write_bytes(cmyk.getvalue())
    ((path, count, bad), _) = make_imagenet(source, tmp_path, Conversion(12, 9))
    assert (count, bad) == (12, [])
    database = open_database(path)
    for key, record in zip(database.key_order(), database.records(), strict=True):
        if key.endswith(b"n01_0.JPEG"):
            blue, green, red = np.frombuffer(Datum.FromString(bytes(record)).data, np.uint8).reshape(3, -1)
            assert blue.max() < 9 and green.max() < 9 and red.min() > 246
    database.close()


KILLED = """
import os, sys
import caffe_compat.data.{backend} as writer
from caffe_compat.commands import main
writer._COMMIT_EVERY = 3
write = writer.write_{backend}
def broken(path, records, resume):
    def some():
        for number, record in enumerate(records):
            if number == 8:
                os.kill(os.getpid(), 9)
            yield record
    return write(path, some(), resume)
import caffe_compat.data.databases as databases
databases.write_{backend} = broken
main(sys.argv[1:])
"""


@pytest.mark.parametrize("backend", ["lmdb", "leveldb"])
def test_a_run_that_was_killed_is_gone_on_with(source, tmp_path, backend):
    as_tars(source)
    words = ["data", "imagenet", "--backend", backend, "--from", str(source), "--out"]
    assert main([*words, str(tmp_path / "whole")]) == 0
    script = KILLED.format(backend=backend)
    killed = subprocess.run([sys.executable, "-c", script, *words, str(tmp_path / "out")], capture_output=True)
    assert killed.returncode == -9
    begun = stored_keys(tmp_path / "out" / f"ilsvrc12_train_{backend}", backend.upper())
    assert begun is not None and begun.count == 6  # two of the commits
    assert main([*words, str(tmp_path / "out")]) == 0
    for part in ("train", "val"):
        name = f"ilsvrc12_{part}_{backend}"
        assert records_of(tmp_path / "out" / name) == records_of(tmp_path / "whole" / name)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"ilsvrc12_{part}_{backend}" for part in ("train", "val")
    ]


@pytest.mark.parametrize(
    ("spoil", "wanted"),
    [
        (remove("synsets.txt"), "no synsets.txt there, which numbers the classes"),
        (remove("val.txt"), "val.txt: no such file; it gives the labels of"),
        (no_images, "no images there; wanted ILSVRC2012_img_train.tar or train or "),
        (lambda s: (s / "synsets.txt").write_text("n01\nn02\n"), "train.tar: n03 not in the synset list"),
        (lambda s: (s / "synsets.txt").write_text("n01\nn02\nn03\nn04\n"), "no images of n04, which the synset list"),
        (lambda s: (s / "val.txt").write_text("gone.JPEG 1\n"), "gone.JPEG not there, which val.txt names"),
        (lambda s: (s / "ILSVRC2012_img_val.tar").write_bytes(b"no tar"), "is no plain tar file that can be read"),
        (
            lambda s: (s / "ILSVRC2012_img_val.tar").write_bytes(tar_of(val_files())[:600]),
            "is cut short within ILSVRC2012_val_00000001.JPEG; get it again",
        ),
    ],
)
def test_what_is_missing_is_said_in_one_line_before_anything_is_written(source, tmp_path, capsys, spoil, wanted):
    as_tars(source)
    spoil(source)
    assert main(["data", "imagenet", "--from", str(source), "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert wanted in message and message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_command_makes_one_part_and_skips_what_is_bad(source, tmp_path, capsys):
    as_folders(source)
    (source / "train" / "n01" / "n01_2.JPEG").write_bytes(b"damaged")
    words = ["-resize_height", "5", "-resize_width=7", "--part", "train", "--skip-bad"]
    assert main(["data", "imagenet", "--from", str(source), "--out", str(tmp_path), *words]) == 0
    assert f"{tmp_path}/ilsvrc12_train_lmdb: 11 images, 1 skipped" in capsys.readouterr().out
    assert records_of(tmp_path / "ilsvrc12_train_lmdb")[0][2] == (3, 5, 7)
