"""Labels that are numbers: lists, databases of float_data, HDF5; read back through the layers that train on them."""

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from tests.conftest import golden

IMAGES = f"{golden('formats')}/images/"
NAMES = [line.rsplit(" ", 1)[0] for line in golden("formats", "list.txt").read_text().splitlines() if line][:7]
LABELS = np.array([[0.5 * i, -1e-3 * i] for i in range(len(NAMES))], np.float32)


@pytest.fixture
def listed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [f"{name} {a:.9g} {b:.9g}" for name, (a, b) in zip(NAMES, LABELS, strict=True)]
    (tmp_path / "list.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def words(*more):
    size = ["--resize-height", "10", "--resize-width", "12"]
    return ["data", "imageset", IMAGES, "list.txt", "made", "--float-labels", *size, *more]


def batch(text, count=1):
    net = cc.Net(cc.parse_text(text, cc.NetParameter))
    return [{name: top.detach().numpy() for name, top in net.blobs().items()} for _ in range(count)]


def test_a_list_has_one_number_or_several_an_image_and_names_may_have_blanks(tmp_path):
    (tmp_path / "l.txt").write_text("a b.png 1.5 2\n\nc 3.png 1e-3 -4\n")
    assert cc.read_float_list(tmp_path / "l.txt") == [("a b.png", (1.5, 2.0)), ("c 3.png", (0.001, -4.0))]
    (tmp_path / "l.txt").write_text("image a 0.5\nimage 12 1.5\n")  # without suffixes a number may end a name
    assert cc.read_float_list(tmp_path / "l.txt") == [("image a", (0.5,)), ("image 12", (1.5,))]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a.png 1 2\nb.png 3\n", "l.txt:2: 'b.png 3' should be an image's name and 2 numbers"),
        ("a.png 1\nb.png 3 4\n", "l.txt:2: 'b.png 3 4' has 2 numbers, the first line 1; give as many"),
        ("a.png\n", "l.txt:1: 'a.png' should be an image's name and one number or several"),
        ("a.png nan\n", "l.txt:1"),
        ("\n", "the list is empty"),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path, text, wanted):
    (tmp_path / "l.txt").write_text(text)
    with pytest.raises(cc.DataError, match=wanted.replace("(", "\\(")):
        cc.read_float_list(tmp_path / "l.txt")


@pytest.mark.parametrize("backend", ["lmdb", "leveldb"])
@pytest.mark.parametrize("shuffle", [[], ["--shuffle", "--seed", "3"]])
def test_two_databases_give_images_and_labels_in_step(listed, capsys, backend, shuffle):
    assert main(words("--backend", backend, *shuffle)) == 0
    assert main(words("--backend", backend, *shuffle)) == 2
    layer = (
        """layer {{ name: "{0}" type: "Data" top: "{0}" data_param {{ source: "{1}" batch_size: 7 backend: {2} }} }}"""
    )
    kind = backend.upper()
    (found,) = batch(layer.format("data", "made", kind) + layer.format("label", "made_labels", kind))
    assert found["data"].shape == (7, 3, 10, 12) and found["label"].shape == (7, 2, 1, 1)
    (hdf5,) = hdf5_batch(shuffle)
    np.testing.assert_array_equal(found["data"], hdf5["data"])
    np.testing.assert_array_equal(found["label"][:, :, 0, 0], hdf5["label"])
    if not shuffle:
        np.testing.assert_array_equal(hdf5["label"], LABELS)
    assert sorted(map(tuple, hdf5["label"])) == sorted(map(tuple, LABELS))


def hdf5_batch(more=()):
    command = words("--backend", "hdf5", *more)
    command[4] = "made_hdf5"
    assert main(command) == 0
    return batch("""layer { name: "d" type: "HDF5Data" top: "data" top: "label"
                            hdf5_data_param { source: "made_hdf5/list.txt" batch_size: 7 } }""")


def test_hdf5_is_replaced_only_when_told(listed, capsys):
    hdf5_batch()
    command = words("--backend", "hdf5")
    command[4] = "made_hdf5"
    assert main(command) == 2 and "made_hdf5: exists and is kept" in capsys.readouterr().err
    assert main([*command, "--force-overwrite"]) == 0


def test_skipped_images_have_no_labels_and_a_bad_one_leaves_nothing(listed, capsys):
    text = (listed / "list.txt").read_text().splitlines()
    (listed / "list.txt").write_text("\n".join([text[0], "gone.png 9 9", *text[1:]]) + "\n")
    for backend in ("lmdb", "hdf5"):
        assert main(words("--backend", backend)) == 2
        assert "gone.png" in capsys.readouterr().err and not (listed / "made").exists()
    assert main(words("--skip-bad")) == 0
    assert "7 images" in capsys.readouterr().out
    (found,) = batch("""layer { name: "l" type: "Data" top: "label"
                               data_param { source: "made_labels" batch_size: 7 backend: LMDB } }""")
    np.testing.assert_array_equal(found["label"][:, :, 0, 0], LABELS)


def test_images_of_several_sizes_are_refused_for_hdf5(tmp_path, monkeypatch, capsys):
    cv2 = pytest.importorskip("cv2")
    monkeypatch.chdir(tmp_path)
    for name, size in (("a.png", (4, 5, 3)), ("b.png", (6, 5, 3))):
        cv2.imwrite(name, np.zeros(size, np.uint8))
    (tmp_path / "l.txt").write_text("a.png 1\nb.png 2\n")
    assert main(["data", "imageset", "./", "l.txt", "made", "--backend", "hdf5"]) == 2
    assert "b.png: is (3, 6, 5), the first image (3, 4, 5); give a size" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()
