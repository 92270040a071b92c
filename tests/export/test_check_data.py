"""`check` finds in the data that is here what a run would refuse, and only notes what is not here."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from caffe_compat.data.databases import write_database
from caffe_compat.data.datum import encode_datum
from caffe_compat.proto.files import write_atomically

cv2 = pytest.importorskip("cv2")

TAIL = """
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "ip" type: "InnerProduct" bottom: "c" top: "ip" inner_product_param { num_output: 4 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
DATA = 'type: "Data" data_param { source: "db" batch_size: 2 backend: LMDB } '
HDF5 = 'type: "HDF5Data" hdf5_data_param { source: "list.txt" batch_size: 2 } '
IMAGES = 'type: "ImageData" image_data_param { source: "list.txt" batch_size: 2 } '
WINDOWS = 'type: "WindowData" window_data_param { source: "list.txt" batch_size: 4 } transform_param { crop_size: 8 } '


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, the working one, with whole data of every kind: images of 3 x 8 x 8 in 4 classes."""
    monkeypatch.chdir(tmp_path)
    images = np.random.RandomState(0).randint(0, 256, (6, 3, 8, 8)).astype(np.uint8)
    records = [(b"%d" % i, encode_datum(image, i % 4)) for i, image in enumerate(images)]
    write_database(tmp_path / "db", records)
    if find_spec("plyvel"):
        write_database(tmp_path / "ldb", records, "LEVELDB")
    hdf5("data.h5", data=images.astype(np.float32), label=np.arange(6) % 4)
    for i, image in enumerate(images):
        cv2.imwrite(f"{i}.png", image.transpose(1, 2, 0))
    cc.write_mean(tmp_path / "mean.binaryproto", np.zeros((3, 8, 8), np.float32))
    return tmp_path


def hdf5(name: str, **arrays: np.ndarray) -> None:
    with h5py.File(name, "w") as file:
        for key, array in arrays.items():
            file[key] = array


def net(data: str, tail: str = TAIL) -> str:
    return f'name: "n" layer {{ name: "d" top: "data" top: "label" {data} }} {tail}'


def report(text: str) -> cc.Report:
    return cc.check(cc.Model(cc.parse_text(text, cc.NetParameter)))


def write(name: str, content: str | bytes) -> None:
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)


def image_list(*lines: str) -> None:
    write("list.txt", "\n".join(lines))


def window_list(box: str = "1 0.9 0 0 3 3", image: str = "0.png") -> None:
    write("list.txt", f"# 0\n{image}\n3 8 8 2\n{box}\n0 0.1 2 2 5 5\n")


def cut(name: str, size: int) -> None:
    write(name, Path(name).read_bytes()[:size])


GOOD: dict[str, tuple[Callable[[], object], str]] = {
    "lmdb": (lambda: None, DATA),
    "leveldb": (lambda: None, DATA.replace('"db"', '"ldb"').replace("LMDB", "LEVELDB")),
    "mean": (lambda: None, DATA + 'transform_param { mean_file: "mean.binaryproto" }'),
    "hdf5": (lambda: write("list.txt", "data.h5"), HDF5),
    "images": (lambda: image_list("0.png 0", "1.png 3"), IMAGES),
    "windows": (window_list, WINDOWS),
}

BAD: dict[str, tuple[Callable[[], object], str, str]] = {  # name -> what damages the data, data layer, what is said
    "lmdb is junk": (lambda: write("db/data.mdb", bytes(range(256)) * 50), DATA, "is no LMDB"),
    "lmdb is cut": (lambda: cut("db/data.mdb", 8192), DATA, "is cut short"),
    "lmdb is a folder without one": (lambda: Path("db/data.mdb").unlink(), DATA, "no LMDB there"),
    "lmdb is empty": (lambda: remade([]), DATA, "the database is empty"),
    "record is damaged": (lambda: remade([(b"0", b"\xff\xff")]), DATA, "record 0 is damaged"),
    "record of another size": (lambda: remade([(b"0", datum(8)), (b"1", datum(7))]), DATA, "set crop_size, or resize"),
    "record is no image": (lambda: remade([(b"0", b"\x22\x02ab\x38\x01")]), DATA, "cannot be decoded"),
    "leveldb for an lmdb": (lambda: None, DATA.replace('"db"', '"ldb"'), "is a database of kind LEVELDB"),
    "leveldb is junk": (
        lambda: write("ldb/CURRENT", "junk"), DATA.replace('"db"', '"ldb"').replace("LMDB", "LEVELDB"), "LevelDB"
    ),
    "source is empty": (lambda: None, DATA.replace('"db"', '""'), "the name of a file is empty"),
    "batch_size of 0": (lambda: None, DATA.replace("batch_size: 2", ""), "data_param.batch_size is 0"),
    "crop larger than the image": (lambda: None, DATA + "transform_param { crop_size: 9 }", "crop_size 9 is larger"),
    "too few mean values": (
        lambda: None, DATA + "transform_param { mean_value: 1 mean_value: 2 }", "2 mean_values for 3"
    ),
    "mean of another size": (
        lambda: cc.write_mean(Path("mean.binaryproto"), np.zeros((3, 9, 9), np.float32)),
        DATA + 'transform_param { mean_file: "mean.binaryproto" }', "the mean image is 9x9x3, the image 8x8x3",
    ),
    "mean of other channels": (
        lambda: cc.write_mean(Path("mean.binaryproto"), np.zeros((1, 8, 8), np.float32)),
        DATA + 'transform_param { mean_file: "mean.binaryproto" }', "the mean image is 8x8x1",
    ),
    "mean is damaged": (
        lambda: cut("mean.binaryproto", 100), DATA + 'transform_param { mean_file: "mean.binaryproto" }', "cut short"
    ),
    "mean and values": (
        lambda: None, DATA + 'transform_param { mean_file: "mean.binaryproto" mean_value: 1 }', "both mean_file and"
    ),
    "label beyond the classes": (
        lambda: remade([(b"0", datum(8, 4))]), DATA, "label 4 of the first batch is not in 0 to 3"
    ),
    "hdf5 is cut": (lambda: (write("list.txt", "data.h5"), cut("data.h5", 2000)), HDF5, "cannot be read as HDF5"),
    "hdf5 is a page": (lambda: (write("list.txt", "a.h5"), write("a.h5", "<html>")), HDF5, "a.h5: this is a web page"),
    "hdf5 is a text": (lambda: write("list.txt", "list.txt"), HDF5, "cannot be read as HDF5"),
    "hdf5 without labels": (
        lambda: (write("list.txt", "a.h5"), hdf5("a.h5", data=np.zeros((3, 3, 8, 8)))), HDF5, "no dataset 'label'"
    ),
    "hdf5 of uneven rows": (
        lambda: (write("list.txt", "a.h5"), hdf5("a.h5", data=np.zeros((3, 3, 8, 8)), label=np.zeros(2))),
        HDF5, "the same number of rows",
    ),
    "hdf5 of text": (
        lambda: (write("list.txt", "a.h5"), hdf5("a.h5", data=np.zeros((1, 3, 8, 8)), label=np.array([b"cat"]))),
        HDF5, "dataset 'label' does not hold numbers",
    ),
    "hdf5 files of two shapes": (
        lambda: (write("list.txt", "data.h5\na.h5"), hdf5("a.h5", data=np.zeros((1, 3, 9, 9)), label=np.zeros(1))),
        HDF5, "rows of shape",
    ),
    "hdf5 without rows": (
        lambda: (write("list.txt", "a.h5"), hdf5("a.h5", data=np.zeros((0, 3, 8, 8)), label=np.zeros(0))),
        HDF5, "no rows",
    ),
    "hdf5 list is empty": (lambda: write("list.txt", "\n"), HDF5, "the list is empty"),
    "hdf5 with a transform": (
        lambda: write("list.txt", "data.h5"), HDF5 + "transform_param { scale: 2 }", "takes no transform_param"
    ),
    "hdf5 batch_size of 0": (lambda: None, HDF5.replace("batch_size: 2", ""), "hdf5_data_param.batch_size is 0"),
    "image list without labels": (lambda: image_list("0.png"), IMAGES, "list.txt:1: '0.png' should be"),
    "image list is empty": (lambda: write("list.txt", ""), IMAGES, "the list is empty"),
    "image list is no text": (lambda: write("list.txt", b"\x89PNG\0\xff 1x"), IMAGES, "should be an image's name"),
    "image is damaged": (lambda: (image_list("0.png 0", "1.png 1"), cut("1.png", 60)), IMAGES, "cannot be decoded"),
    "images of two sizes": (
        lambda: (image_list("0.png 0", "b.png 1"), cv2.imwrite("b.png", np.zeros((9, 8, 3), np.uint8))),
        IMAGES, "the image is (9, 8, 3)",
    ),
    "image list is a folder": (lambda: Path("list.txt").mkdir(), IMAGES, "is a folder"),
    "new_height alone": (
        lambda: image_list("0.png 0"), IMAGES.replace("batch_size", "new_height: 4 batch_size"), "both new_height"
    ),
    "windows are none": (lambda: write("list.txt", "a b c"), WINDOWS, "where '# image_index' should stand"),
    "window outside the image": (lambda: window_list("1 0.9 0 0 30 3"), WINDOWS, "does not lie in the image"),
    "windows without a crop": (window_list, WINDOWS.replace("crop_size: 8", ""), "crop_size 0 must be above 0"),
    "mean is numpy's": (
        lambda: np.save("m.npy", np.zeros((3, 8, 8))), DATA + 'transform_param { mean_file: "m.npy" }', "NumPy's .npy"
    ),
    "more tops than there are": (lambda: None, DATA + 'top: "third"', "takes 1 to 2 tops"),
}  # fmt: skip


def remade(records: list[tuple[bytes, bytes]]) -> None:
    Path("db/data.mdb").unlink()
    Path("db/lock.mdb").unlink()
    Path("db").rmdir()
    write_database(Path("db"), records)


def datum(size: int, label: int = 0) -> bytes:
    return encode_datum(np.zeros((3, size, size), np.uint8), label)


@pytest.mark.parametrize("name", GOOD)
def test_whole_data_is_no_problem(name: str) -> None:
    prepare, data = GOOD[name]
    prepare()
    found = report(net(data))
    assert found.clean and not found.notes, found


@pytest.mark.parametrize("name", BAD)
def test_data_that_a_run_would_refuse_is_a_problem(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    prepare, data, said = BAD[name]
    prepare()
    problems = report(net(data)).problems
    assert any(said in found.message for found in problems), problems
    Path("net.prototxt").write_text(net(data))
    assert main(["check", "net.prototxt"]) == 1
    with pytest.raises(cc.CaffeCompatError):  # the run
        cc.Net(cc.read_model("net.prototxt"), phase="TRAIN").blobs()


MISSING: dict[str, tuple[Callable[[], object], str]] = {
    "lmdb": (lambda: None, DATA.replace('"db"', '"gone"')),
    "hdf5 list": (lambda: None, HDF5),
    "hdf5 file of the list": (lambda: write("list.txt", "gone.h5"), HDF5),
    "image of the list": (lambda: image_list("0.png 0", "gone.png 1"), IMAGES),
    "image behind the first batch": (lambda: image_list("0.png 0", "1.png 1", "gone.png 1"), IMAGES),
    "mean": (lambda: None, DATA + 'transform_param { mean_file: "gone.binaryproto" }'),
}


@pytest.mark.parametrize("name", MISSING)
def test_data_that_is_not_here_is_a_note(name: str) -> None:
    prepare, data = MISSING[name]
    prepare()
    found = report(net(data))
    assert found.clean and any(note.kind == "data" for note in found.notes), found


@pytest.mark.parametrize("ignored", ["", "ignore_label: 4"])
def test_a_label_that_is_ignored_may_be_beyond_the_classes(ignored: str) -> None:
    remade([(b"0", datum(8, 4))])
    tail = TAIL.replace('top: "loss"', f'top: "loss" loss_param {{ {ignored} }}')
    assert report(net(DATA, tail)).clean == bool(ignored)


def test_train_and_test_that_give_a_layer_other_weights_are_a_problem() -> None:
    train, test = (f"include {{ phase: {phase} }} {DATA} transform_param {{ crop_size: {crop} }}" for phase, crop in
                   (("TRAIN", 6), ("TEST", 7)))  # fmt: skip
    (found,) = report(net(f'{train} }} layer {{ name: "t" top: "data" top: "label" {test}')).problems
    assert found.message.startswith("layer 'ip': blob 0 is (4, 32) in TRAIN and (4, 50) in TEST")


def test_weights_that_are_empty_text_or_a_net_alone_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    Path("net.prototxt").write_text(net(DATA))
    write("empty.caffemodel", b"")
    write("text.caffemodel", net(DATA))
    assert main(["check", "net.prototxt", "empty.caffemodel"]) == 2
    assert "empty.caffemodel: the file is empty" in capsys.readouterr().err
    assert main(["check", "net.prototxt", "text.caffemodel"]) == 2
    assert "text.caffemodel: this is text, not weights" in capsys.readouterr().err
    cc.write_net("bare.caffemodel", cc.read_net("net.prototxt"), {})
    assert main(["check", "net.prototxt", "bare.caffemodel"]) == 1
    assert "problem: bare.caffemodel holds no weights" in capsys.readouterr().out


def test_a_net_without_layers_is_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    with write_atomically("empty.prototxt"):
        pass
    assert main(["check", "empty.prototxt"]) == 1
    assert "problem: the net has no layers" in capsys.readouterr().out


BEYOND: dict[str, tuple[Callable[[], object], str, str]] = {  # faults that the first batch does not show
    "lmdb": (lambda: remade(many(datum(8, 7))), DATA, "label 7 of record 40 is not in 0 to 3"),
    "leveldb": (
        lambda: write_database(Path("ldb2"), many(datum(8, -1)), "LEVELDB"),
        DATA.replace("LMDB", "LEVELDB").replace('"db"', '"ldb2"'), "label -1 of record 40 is not in 0 to 3",
    ),
    "two of them": (
        lambda: remade([*many(datum(8, 7)), (b"999", datum(8, 9))]),
        DATA, "label 7 of record 40 is not in 0 to 3; 2 of 43 records have such labels",
    ),
    "images": (lambda: image_list("0.png 0", "1.png 1", "2.png 2", "3.png 4"), IMAGES, "label 4 of record 3 is not"),
    "hdf5": (lambda: two_files(np.arange(6)), HDF5, "label 4 of record 10 is not in 0 to 3; 2 of 12 records have"),
    "hdf5 label maps": (lambda: two_files(np.ones((6, 1)) * 5), HDF5, "label 5 of record 6 is not in 0 to 3"),
    "windows": (lambda: window_list("4 0.9 0 0 3 3"), WINDOWS, "label 4 of the first batch is not in 0 to 3"),
    "damaged record": (lambda: remade(many(b"\xff\xff")), DATA, "record 40 is damaged"),
    "record of another size": (lambda: remade(many(datum(7))), DATA, "record 41: the image is (8, 8, 3)"),
    "record without values": (lambda: remade(many(b"\x08\x03\x10\x08\x18\x08")), DATA, "record 40 is damaged"),
}  # fmt: skip


def many(last: bytes) -> list[tuple[bytes, bytes]]:
    return [*((b"%03d" % i, datum(8, i % 4)) for i in range(40)), (b"900", last), (b"998", datum(8))]


def two_files(labels: np.ndarray) -> None:
    write("list.txt", "data.h5\na.h5")
    hdf5("a.h5", data=np.zeros((6, 3, 8, 8)), label=labels)
    if labels.ndim == 2:
        hdf5("data.h5", data=np.zeros((6, 3, 8, 8)), label=np.zeros((6, 1)))


@pytest.mark.parametrize("name", BEYOND)
def test_what_is_wrong_beyond_the_first_batch_is_found(name: str) -> None:
    prepare, data, said = BEYOND[name]
    prepare()
    problems = report(net(data)).problems
    assert problems and all(said in found.message and found.kind == "data" for found in problems), problems


def test_how_many_labels_were_looked_at_is_said_where_not_all_were(monkeypatch: pytest.MonkeyPatch) -> None:
    remade(many(datum(8)))
    assert report(net(DATA)).notes == ()
    monkeypatch.setattr("caffe_compat.data.batches.MOST_RECORDS", 30)
    (note,) = report(net(DATA)).notes
    assert note.message == ("layer 'loss': the labels of the first 30 of 42 records were looked at; all are in 0 to 3")
    remade(many(datum(8, 7)))
    assert report(net(DATA)).clean
    monkeypatch.setattr("caffe_compat.data.batches.MOST_RECORDS", 41)
    (found,) = report(net(DATA)).problems
    assert found.message == "layer 'loss': label 7 of record 40 is not in 0 to 3"
    monkeypatch.setattr("caffe_compat.data.batches.MOST_BYTES", 100)
    (note,) = report(net(DATA)).notes
    assert "the labels of the first 1 of 42 records" in note.message


def test_a_phase_without_its_data_takes_the_size_of_images_that_the_other_phase_states(tmp_path):
    sizes = {"TRAIN": "crop_size: 33", "TEST": ""}
    layers = [
        f'layer {{ name: "d" type: "Data" top: "d" top: "l" include {{ phase: {phase} }} transform_param {{ {crop} }} '
        f'data_param {{ source: "gone" batch_size: {batch} }} }}'
        for (phase, crop), batch in zip(sizes.items(), (8, 2), strict=True)
    ]
    net = cc.parse_text(
        " ".join(layers) + 'layer { name: "c" type: "Convolution" bottom: "d" top: "c" '
        "convolution_param { num_output: 2 kernel_size: 3 } }"
        'layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { pool: AVE global_pooling: true } }'
        'layer { name: "ip" type: "InnerProduct" bottom: "p" top: "ip" inner_product_param { num_output: 3 } }'
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "l" top: "loss" }',
        cc.NetParameter,
    )
    weights = {"c": (np.ones((2, 1, 3, 3)), np.ones(2)), "ip": (np.ones((3, 2)), np.ones(3))}
    model = cc.Model(net, {name: tuple(np.float32(blob) for blob in blobs) for name, blobs in weights.items()})
    notes = [str(note) for note in cc.check(model).notes if "gone" in str(note)]
    assert ["8x1x33x33 and 8, as its prototxt says" in note for note in notes] == [True, False]
    assert "2x1x33x33 and 2, as its data layer of the other phase says" in notes[1]
    assert cc.deploy(model).net.layer[0].input_param.shape[0].dim[:] == [1, 1, 33, 33]
