"""The data tools from the command line, in Caffe's spelling and ours."""

import errno
import json
import shlex
import struct
from pathlib import Path

import numpy as np
import pytest

from caffe_compat.commands import main
from caffe_compat.data.databases import open_database
from caffe_compat.data.transform import read_mean
from tests.conftest import golden


@pytest.fixture
def in_formats(monkeypatch):
    monkeypatch.chdir(golden("formats"))


def test_imageset_info_mean_and_pad_follow_one_another(in_formats, tmp_path, capsys):
    made, padded = f"{tmp_path}/made", f"{tmp_path}/padded"
    assert (
        main(["data", "imageset", "-resize_height", "16", "--resize_width=18", "-gray", "images/", "list.txt", made])
        == 0
    )
    assert "40 images in" in capsys.readouterr().out
    assert main(["data", "info", made, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["records"] == 40 and found["shapes (channels x height x width)"] == {"1x16x18": 40}
    assert main(["data", "mean", "-backend", "lmdb", made, f"{tmp_path}/mean.binaryproto"]) == 0
    assert capsys.readouterr().out.startswith("mean_value channel [0]: ")
    wanted = read_mean(golden("formats", "mean", "gray_resized_lmdb.binaryproto"))
    np.testing.assert_allclose(read_mean(tmp_path / "mean.binaryproto"), wanted, atol=2)  # grey with resize: 2
    assert main(["data", "pad", made, padded, "--pad", "3"]) == 0
    assert main(["data", "info", padded]) == 0
    assert "1x22x24 (40)" in capsys.readouterr().out


def read_only(*arguments, **options):
    raise OSError(errno.EROFS, "Read-only file system")


def test_a_read_only_disk_is_said(in_formats, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tempfile.mkstemp", read_only)
    monkeypatch.setattr("pathlib.Path.mkdir", read_only)
    for tool in (["mean", "db/raw_lmdb"], ["pad", "db/raw_lmdb"], ["imageset", "images/", "list.txt"]):
        assert main(["data", *tool, f"{tmp_path}/made"]) == 2
        message = capsys.readouterr().err
        assert message.startswith(f"caffe-compat: {tmp_path}/made: cannot be written") and message.count("\n") == 1
        assert "Read-only file system" in message


def test_skipped_images_are_counted(in_formats, tmp_path, capsys):
    lines = Path("list.txt").read_text().splitlines()
    (tmp_path / "list.txt").write_text("\n".join([*lines[:3], "gone here.png 4", *lines[3:]]))
    words = ["data", "imageset", "images/", str(tmp_path / "list.txt"), str(tmp_path / "db")]
    assert main(words) == 2
    assert "images/gone here.png: the image cannot be read (No such file" in capsys.readouterr().err
    assert main([*words, "--skip-bad"]) == 0
    assert f"{tmp_path}/db: 40 images in" in (out := capsys.readouterr().out) and out.endswith(" s, 1 skipped\n")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["data"], "the following arguments are required: TOOL"),
        (["data", "mean", "gone"], "gone: no LMDB there"),
        (["data", "cifar10", "--from", "gone"], "gone: no such folder or archive"),
        (["data", "mnist", "images"], "data mnist: wanted IMAGE_FILE LABEL_FILE DB_FILE"),
        (["data", "mnist", "list.txt", "list.txt", "x"], "list.txt: is no idx file of images or labels"),
        (["data", "info", "db/raw_lmdb", "x"], "unrecognized arguments: x; see caffe-compat data info --help"),
        (["data", "mnist", "--from", "images"], "images: no train-images-idx3-ubyte there"),
        (["data", "imageset", "images/", "gone.txt", "x"], "gone.txt: cannot be read: No such file or directory"),
        (["data", "info", "db/raw_lmdb", "--most", "0"], "argument --most: '0': wanted a whole number, 1 or more"),
        (["data", "pad", "db/raw_lmdb", "x", "-pad=-2"], "argument --pad: '-2': wanted a whole number, 0 or more"),
        (["data", "pad", "db/raw_lmdb", "x", "--value", "256"], "'256': wanted a whole number, 0 to 255"),
        (["data", "imageset", "images/", "list.txt", "x", "-resize_width", "a"], "'a': wanted a whole number"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_2(in_formats, tmp_path, capsys, words, wanted):
    try:
        status = main([*words, "--out", str(tmp_path)] if "--from" in words else words)
    except SystemExit as stop:
        status = stop.code
    message = capsys.readouterr().err
    assert status == 2 and wanted in message and message.count("\n") == 1


@pytest.mark.parametrize("tool", ["mnist", "cifar10"])
def test_what_is_refused_leaves_no_folder(in_formats, tmp_path, capsys, tool):
    (tmp_path / "kept").mkdir()
    for out in ("new", "deep/er", "kept", "kept/new"):
        assert main(["data", tool, "--from", "gone", "--out", str(tmp_path / out)]) == 2
    assert [path.name for path in tmp_path.rglob("*")] == ["kept"]


def test_mnist_and_cifar10_take_the_words_of_caffes_tools(in_formats, tmp_path, capsys, monkeypatch):
    idx = [f"mnist_idx/{kind}" for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]
    assert main(["data", "mnist", "-backend=leveldb", *idx, f"{tmp_path}/made"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/made: 30 images\n"
    ours, caffes = open_database(tmp_path / "made"), open_database(golden("formats", "db", "mnist_leveldb"))
    assert [bytes(record) for record in ours.records()] == [bytes(record) for record in caffes.records()]
    asked = []
    monkeypatch.setattr("caffe_compat.make_cifar10", lambda *given: asked.append(given) or [])
    assert main(["data", "cifar10", str(tmp_path), str(tmp_path / "out"), "leveldb", "--no-check"]) == 0
    assert asked == [(tmp_path, tmp_path / "out", "LEVELDB", None)]


def test_labels_that_are_no_classes_are_told_with_their_option(tmp_path, monkeypatch, capsys):
    cv2 = pytest.importorskip("cv2")
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        cv2.imwrite(name, np.zeros((4, 4, 3), np.uint8))
    hint = "; labels that are several or no whole numbers go by --float-labels"
    for labels, has_hint in (("0.5", True), ("1 2", True), ("x", False), ("1", None)):
        (tmp_path / "list.txt").write_text(
            f"a.png 0\nb.png {labels}\n" if labels != "1 2" else "a.png 1 2\nb.png 3 4\n"
        )
        words = ["data", "imageset", "./", "list.txt", f"db{labels[:1]}{has_hint}"]
        assert main(words) == (0 if has_hint is None else 2)
        assert (hint in capsys.readouterr().err) == bool(has_hint)
    (tmp_path / "list.txt").write_text("a.png 0.5\nb.png 1\n")
    assert main(["data", "imageset", "./", "list.txt", "floats", "--float-labels"]) == 0
    assert capsys.readouterr().out.strip().endswith("0 skipped, their labels in floats_labels")


@pytest.mark.parametrize("more", [(), ("--float-labels",), ("--backend", "hdf5"), ("--backend", "leveldb")])
def test_where_every_image_would_be_skipped_nothing_is_written(tmp_path, monkeypatch, capsys, caplog, more):
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    cv2 = pytest.importorskip("cv2")
    cv2.imwrite("images/a.png", np.zeros((4, 5, 3), np.uint8))
    Path("list.txt").write_text("a.png 1\nb.png 2\n")
    assert main(["data", "imageset", "images", "list.txt", "db", "--skip-bad", *more]) == 2
    said = capsys.readouterr().err
    assert "images: none of the 2 images can be read" in said and "as it is: give images/" in said
    assert [message.partition(":")[0] for message in caplog.messages] == ["skipped", "skipped"]
    assert sorted(path.name for path in Path().iterdir()) == ["images", "list.txt"]
    assert main(["data", "imageset", "images", "list.txt", "db", *more]) == 2
    assert "as it is: give images/" in capsys.readouterr().err
    assert main(["data", "imageset", "images/", "list.txt", "db", "--skip-bad", *more]) == 0
    assert "db: 1 images in" in capsys.readouterr().out


@pytest.mark.parametrize("words", [("show",), ("data", "info"), ("data", "mean")])
def test_a_folder_of_hdf5_files_is_called_that(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    cv2 = pytest.importorskip("cv2")
    cv2.imwrite("a.png", np.zeros((4, 5, 3), np.uint8))
    Path("list.txt").write_text("a.png 1\n")
    assert main(["data", "imageset", "./", "list.txt", "h5", "--backend", "hdf5"]) == 0
    assert main([*words, "h5"]) == 2
    said = capsys.readouterr().err
    assert "h5: no database, but a folder of HDF5 files" in said
    assert main(shlex.split(said.split("`")[1])[1:]) == 0


def test_idx_files_are_called_what_they_are(tmp_path, capsys):
    for kind, sizes in ((3, (1, 2, 2)), (1, (1,))):
        (tmp_path / "idx").write_bytes(struct.pack(f">{1 + len(sizes)}I", 0x800 + kind, *sizes) + bytes(4))
        assert main(["show", str(tmp_path / "idx")]) == 2
        assert "this is a file of MNIST (idx); `caffe-compat data mnist`" in capsys.readouterr().err
