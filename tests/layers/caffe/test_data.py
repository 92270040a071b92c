"""Stored layers against batches that real Caffe read, by plain rules, and against damaged sources."""

import copy
import os
import pickle
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from caffe_compat.data.datum import encode_datum, encode_image_file
from caffe_compat.data.images import encode_image
from caffe_compat.data.lmdb import write_lmdb
from caffe_compat.errors import DataError
from caffe_compat.proto.binary import write_blob
from tests.conftest import golden
from tests.layers.sources import golden_layer, layer_of

lmdb = pytest.importorskip("lmdb")

FORMATS = golden("formats")
EXACT = ["data_raw_lmdb", "data_raw_leveldb", "data_flat_leveldb", "data_crop_center", "data_float", "data_mnist"]
EXACT += ["data_float_leveldb", "data_no_label", "data_png", "data_png_force_color", "data_train_plain"]
EXACT += ["data_one_mean_value", "image_own_size_batch1"]
# README-layers.md, Tolerances: 1e-5 absolute with a mean; JPEG 2 levels; grey from colour 1; OpenCV's resize 1
CLOSE = {
    "data_mean_file": 1e-5,
    "data_mean_file_crop_scale": 1e-5,
    "data_mean_values": 1e-5,
    "data_jpg": 2,
    "data_encoded_mixed": 2,
    "data_png_force_gray": 1,
    "data_var_resized": 1,
    "image_plain": 2,
    "image_resize": 1,
    "image_resize_up": 1,
    "image_gray": 2,
    "image_crop_mean_scale": 0.5,  # 2 levels of JPEG times the scale of 0.25
    "window_warp": 1,
    "window_square": 1,
    "window_warp_context_mean": 1,
}


@pytest.fixture
def in_formats(monkeypatch):
    monkeypatch.chdir(FORMATS)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("name", [*EXACT, *CLOSE])
def test_data_equals_caffe_batch_for_batch(name, in_formats):
    if "LEVELDB" in Path(f"data/{name}.prototxt").read_text():
        pytest.importorskip("plyvel")
    expected = np.load(f"data/{name}.npz")
    layer = golden_layer(Path(f"data/{name}.prototxt"))
    shapes = layer.top_shapes([])
    for index in range(len(expected["batches_data"])):
        for top, value, shape in zip(layer.param.top, layer.next_batch(), shapes, strict=True):
            wanted = expected[f"batches_{top}"][index]
            assert tuple(value.shape) == shape and value.dtype == torch.float32
            np.testing.assert_allclose(value.numpy(), wanted.reshape(shape), rtol=0, atol=CLOSE.get(name, 0))
    layer.close()


@pytest.mark.leveldb
def test_reading_changes_no_file_of_a_database(in_formats):
    before = {file: file.stat().st_mtime_ns for file in Path("db").rglob("*")}
    for name in ("data_raw_leveldb", "data_raw_lmdb"):
        golden_layer(Path(f"data/{name}.prototxt")).next_batch()
    assert {file: file.stat().st_mtime_ns for file in Path("db").rglob("*")} == before


def test_a_leveldb_whose_records_are_all_in_the_log_is_read(in_formats):
    expected = np.load("data/data_raw_leveldb.npz")["batches_data"][0]
    layer = layer_of(data_layer("db/raw_fresh_leveldb", batch=16, backend="LEVELDB"))
    np.testing.assert_array_equal(layer.next_batch()[0].numpy(), expected)


def test_a_leveldb_that_another_program_has_open_is_read(tmp_path, in_formats):
    expected = np.load("data/data_raw_leveldb.npz")["batches_data"][0]
    shutil.copytree("db/raw_leveldb", tmp_path / "db")
    plyvel = pytest.importorskip("plyvel")
    locked = plyvel.DB(str(tmp_path / "db"))
    layer = layer_of(data_layer(tmp_path / "db", batch=16, backend="LEVELDB"))
    np.testing.assert_array_equal(layer.next_batch()[0].numpy(), expected)
    layer.close()
    locked.close()


def test_the_depth_of_the_prefetch_queue_is_logged(tmp_path, caplog):
    made_set(tmp_path / "db")
    caplog.set_level("INFO")
    for depth, fields in ((4, ""), (7, "prefetch: 7")):  # 4 is Caffe's default
        caplog.clear()
        layer = layer_of(data_layer(tmp_path / "db").replace("batch_size", f"{fields} batch_size"))
        layer.next_batch()
        layer.close()
        assert f"layer 'd': up to {depth} batches are made ahead" in caplog.text


def data_layer(source, batch=4, backend="LMDB", transform=""):
    return (
        f'name: "d" type: "Data" top: "data" top: "label" transform_param {{ {transform} }} '
        f'data_param {{ source: "{source}" batch_size: {batch} backend: {backend} }}'
    )


def made_set(path, count=10, shape=(3, 8, 6), seed=0):
    """An LMDB of `count` random records, and their images and labels."""
    random = np.random.RandomState(seed)
    images = random.randint(0, 256, (count, *shape)).astype(np.uint8)
    labels = np.arange(count) * 50  # one and two byte labels
    records = [(b"%05d" % n, encode_datum(images[n], int(labels[n]))) for n in range(count)]
    write_lmdb(path, records)
    return images, labels


@pytest.mark.usefixtures("either_way")
def test_labels_of_any_sign_and_size_come_through(tmp_path):
    labels = [0, 127, 128, 16384, 2**31 - 1, -1, -(2**31)]
    image = np.zeros((1, 2, 3), np.uint8)
    write_lmdb(tmp_path / "db", [(b"%d" % n, encode_datum(image, label)) for n, label in enumerate(labels)])
    batch = layer_of(data_layer(tmp_path / "db", batch=len(labels))).next_batch()[1]
    assert batch.tolist() == np.float32(labels).tolist()


@pytest.mark.usefixtures("either_way")
def test_train_crops_and_flips_are_windows_of_the_image(tmp_path):
    images, _ = made_set(tmp_path / "db")
    layer = layer_of(data_layer(tmp_path / "db", batch=10, transform="crop_size: 4 mirror: true scale: 0.5"))
    corners, flips = set(), set()
    for _ in range(20):
        for image, found in zip(images, layer.next_batch()[0].numpy(), strict=True):
            where = [
                (top, left, flip)
                for top in range(5)
                for left in range(3)
                for flip in (1, -1)
                if np.array_equal(found, image[:, top : top + 4, left : left + 4][:, :, ::flip] * np.float32(0.5))
            ]
            assert len(where) == 1
            corners.add(where[0][:2])
            flips.add(where[0][2])
    assert len(corners) == 15 and len(flips) == 2  # every corner, the last row and column too


@pytest.mark.usefixtures("either_way")
def test_mirror_flips_in_test_too_and_the_crop_is_central(tmp_path):
    images, _ = made_set(tmp_path / "db")
    layer = layer_of(data_layer(tmp_path / "db", batch=10, transform="crop_size: 5 mirror: true"), phase="TEST")
    centre = images[:, :, 1:6, 0:5].astype(np.float32)
    flipped = [
        bool((found == image[:, :, ::-1]).all()) and not (found == image).all()
        for _ in range(5)
        for image, found in zip(centre, layer.next_batch()[0].numpy(), strict=True)
    ]
    assert 10 < sum(flipped) < 40


@pytest.mark.usefixtures("either_way")
def test_a_mean_image_is_cut_with_its_image_before_the_flip(tmp_path):
    images, _ = made_set(tmp_path / "db")
    mean = np.random.RandomState(1).rand(1, 3, 8, 6).astype(np.float32) * 255
    write_blob(tmp_path / "mean.binaryproto", mean)
    transform = f'crop_size: 4 mirror: true mean_file: "{tmp_path}/mean.binaryproto"'
    found = layer_of(data_layer(tmp_path / "db", batch=10, transform=transform)).next_batch()[0].numpy()
    for image, value in zip(images - mean, found, strict=True):
        windows = [
            image[:, top : top + 4, left : left + 4][:, :, ::flip]
            for top in range(5)
            for left in range(3)
            for flip in (1, -1)
        ]
        assert min(np.abs(value - window).max() for window in windows) <= 1e-5


@pytest.mark.usefixtures("either_way")
def test_the_second_pass_from_memory_equals_the_first_from_disk(tmp_path):
    made_set(tmp_path / "db", count=12)
    layer = layer_of(data_layer(tmp_path / "db", batch=5, transform="mean_value: 7 crop_size: 5"), phase="TEST")
    passes = [[layer.next_batch() for _ in range(12)] for _ in range(3)]
    for first, later in zip(passes[0] * 2, passes[1] + passes[2], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first, later, strict=True))


def test_a_layer_offers_its_set_whole(tmp_path):
    images, labels = made_set(tmp_path / "db")
    whole = layer_of(data_layer(tmp_path / "db")).whole_set()
    np.testing.assert_array_equal(whole.pixels, images.transpose(0, 2, 3, 1))
    assert whole.labels.tolist() == labels.tolist()


@pytest.mark.usefixtures("either_way")
def test_batches_come_with_channels_last_in_memory(tmp_path):
    made_set(tmp_path / "db")
    assert layer_of(data_layer(tmp_path / "db")).next_batch()[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.usefixtures("either_way")
def test_ranks_share_the_records_in_turn(tmp_path):
    _, labels = made_set(tmp_path / "db", count=10)
    seen = []
    for rank in range(3):
        layer = layer_of(data_layer(tmp_path / "db", batch=4))
        layer.share(rank, 3)
        seen.append(torch.cat([layer.next_batch()[1] for _ in range(2)]).tolist())
    assert [label for together in zip(*seen, strict=True) for label in together] == [
        float(labels[n % 10]) for n in range(24)
    ]


def test_seek_repeats_random_batches_to_the_bit(tmp_path):
    made_set(tmp_path / "db")
    layer = layer_of(data_layer(tmp_path / "db", transform="crop_size: 3 mirror: true"))
    batches = [layer.next_batch() for _ in range(8)]
    for start in (5, 0, 3):
        layer.seek(start)
        for wanted in batches[start:]:
            assert all(torch.equal(a, b) for a, b in zip(layer.next_batch(), wanted, strict=True))


def test_a_torch_seed_repeats_the_run(tmp_path):
    made_set(tmp_path / "db")
    text = data_layer(tmp_path / "db", transform="crop_size: 3 mirror: true")
    runs = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        runs.append(layer_of(text).next_batch()[0])
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


CHANCE = {
    "ImageData": """name: "i" type: "ImageData" top: "data" top: "label" transform_param { crop_size: 9 mirror: true }
        image_data_param { source: "list.txt" root_folder: "images/" batch_size: 8 shuffle: true rand_skip: 30 }""",
    "HDF5Data": """name: "h" type: "HDF5Data" top: "data" hdf5_data_param {
        source: "hdf5/list.txt" batch_size: 7 shuffle: true }""",
    "WindowData": """name: "w" type: "WindowData" top: "data" top: "label" transform_param { crop_size: 9 mirror: true }
        window_data_param { source: "windows_edge.txt" batch_size: 9 fg_fraction: 0.5 }""",
    "DummyData": """name: "d" type: "DummyData" top: "data" dummy_data_param {
        shape { dim: 3 dim: 4 } data_filler { type: "gaussian" } }""",
}


@pytest.mark.parametrize("kind", CHANCE)
def test_a_torch_seed_repeats_every_layer_that_draws(kind, in_formats):
    runs = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        layer = layer_of(CHANCE[kind])
        runs.append(torch.stack([layer.next_batch()[0] for _ in range(4)]))
        layer.close()
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


def test_two_layers_and_a_copy_read_one_lmdb_together(tmp_path):
    _, labels = made_set(tmp_path / "db")
    first, second = layer_of(data_layer(tmp_path / "db")), layer_of(data_layer(tmp_path / "db"))
    first.next_batch()
    third = copy.deepcopy(first)
    assert third.next_batch()[1].tolist() == labels[4:8].tolist()
    first.close()
    assert second.next_batch()[1].tolist() == labels[:4].tolist()
    assert first.next_batch()[1].tolist() == labels[4:8].tolist()  # opened again where it was


def test_a_forked_child_of_a_prefetching_layer_reads_for_itself(tmp_path):
    _, labels = made_set(tmp_path / "db")
    layer = layer_of(data_layer(tmp_path / "db"))
    layer.next_batch()
    child = os.fork()
    if child == 0:
        os._exit(0 if layer.next_batch()[1].tolist() == labels[4:8].tolist() else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_database_that_is_being_written_is_read_as_it_was(tmp_path):
    _, labels = made_set(tmp_path / "db")
    child = os.fork()
    if child == 0:
        with lmdb.open(str(tmp_path / "db"), map_size=1 << 20).begin(write=True) as writer:
            writer.put(b"00000", b"half done")
            (tmp_path / "locked").touch()
            while not (tmp_path / "read").exists():
                pass
            writer.abort()
            os._exit(0)
    while not (tmp_path / "locked").exists():
        pass
    found = layer_of(data_layer(tmp_path / "db")).next_batch()[1].tolist()
    (tmp_path / "read").touch()
    os.waitpid(child, 0)
    assert found == labels[:4].tolist()


def test_a_database_whose_lock_cannot_be_had_is_read_without(tmp_path):
    _, labels = made_set(tmp_path / "db")
    (tmp_path / "db" / "lock.mdb").unlink()
    (tmp_path / "db" / "lock.mdb").mkdir()
    assert layer_of(data_layer(tmp_path / "db")).next_batch()[1].tolist() == labels[:4].tolist()


def error_of(text, phase="TRAIN", batches=1):
    with pytest.raises(DataError) as caught:
        layer = layer_of(text, phase)
        layer.top_shapes([])
        for _ in range(batches):
            layer.next_batch()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_lmdb_missing(tmp_path):
    assert error_of(data_layer("gone_lmdb")).startswith("layer 'd': 'gone_lmdb' is not at ")


def test_lmdb_folder_without_a_database(tmp_path):
    assert "no LMDB there" in error_of(data_layer(tmp_path))


def test_lmdb_empty(tmp_path):
    write_lmdb(tmp_path / "db", [])
    assert error_of(data_layer(tmp_path / "db")) == f"{tmp_path}/db: the database is empty"


def test_lmdb_cut_short(tmp_path):
    made_set(tmp_path / "db", count=100)
    os.truncate(tmp_path / "db" / "data.mdb", 12288)
    assert "is cut short: 12288 bytes, its header says" in error_of(data_layer(tmp_path / "db"))


@pytest.mark.parametrize(
    "at, value, wanted",
    [
        (16, b"\xbe\xef\xc0\xde", "another word size or byte order"),
        (20, b"\x02\x00\x00\x00", "has LMDB format 2, this reads format 1"),
        (16, b"none", "is no LMDB"),
    ],
)
def test_lmdb_of_another_kind(tmp_path, at, value, wanted):
    made_set(tmp_path / "db")
    with open(tmp_path / "db" / "data.mdb", "r+b") as file:
        file.seek(at)
        file.write(value)
    assert wanted in error_of(data_layer(tmp_path / "db"))


def test_lmdb_open_for_writing_in_this_process(tmp_path):
    made_set(tmp_path / "db")
    with lmdb.open(str(tmp_path / "db"), map_size=1 << 20):
        assert "already open in this process" in error_of(data_layer(tmp_path / "db"))


def test_a_backend_that_the_database_is_not(tmp_path):
    made_set(tmp_path / "db")
    assert "is a database of kind LMDB, not LEVELDB; write backend: LMDB" in error_of(
        data_layer(tmp_path / "db", backend="LEVELDB")
    )


def test_leveldb_damaged(tmp_path):
    shutil.copytree(FORMATS / "db" / "flat_leveldb", tmp_path / "db")
    table = next((tmp_path / "db").glob("*.ldb"))
    table.write_bytes(table.read_bytes()[: table.stat().st_size // 2])
    assert error_of(data_layer(tmp_path / "db", backend="LEVELDB")).startswith(f"{tmp_path}/db: LevelDB ")


def written(path, *records):
    write_lmdb(path, [(b"%05d" % n, record) for n, record in enumerate(records)])
    return path


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(
    "record, reason",
    [
        (encode_datum(np.zeros((1, 2, 3), np.uint8), 0)[:-5], "field 4 has 6 bytes, 3 are left"),
        (encode_datum(np.zeros((1, 2, 3), np.uint8), 300)[:-1], "ends within a field"),
        (b"\x08\x01\x10\x02\x18\x03\x22\x01a", r"holds 1 values, but channels, height and width are (1, 2, 3)"),
        (b"", "holds 0 values"),
        (b"not a datum", "wire type"),
    ],
)
def test_a_damaged_record_is_named(tmp_path, record, reason):
    good = encode_datum(np.zeros((1, 2, 3), np.uint8), 0)
    message = error_of(data_layer(written(tmp_path / "db", good, good, record), batch=2), batches=2)
    assert message.startswith(f"{tmp_path}/db: record 2 is damaged: ") and reason in message


@pytest.mark.usefixtures("either_way")
def test_sizes_that_differ_within_a_batch(tmp_path):
    records = [encode_datum(np.zeros(shape, np.uint8), 0) for shape in ((3, 4, 5), (3, 6, 5))]
    message = error_of(data_layer(written(tmp_path / "db", *records), batch=2))
    assert "record 1: the image is (6, 5, 3)" in message and "set crop_size, or resize" in message


@pytest.mark.usefixtures("either_way")
def test_sizes_that_differ_are_cut_to_one(tmp_path):
    records = [encode_datum(np.full(shape, n, np.uint8), 0) for n, shape in enumerate(((3, 4, 5), (3, 6, 5)))]
    layer = layer_of(data_layer(written(tmp_path / "db", *records), batch=2, transform="crop_size: 4"))
    assert layer.next_batch()[0].mean(dim=(1, 2, 3)).tolist() == [0, 1]


@pytest.mark.usefixtures("either_way")
def test_a_crop_larger_than_the_image(tmp_path):
    made_set(tmp_path / "db")
    message = error_of(data_layer(tmp_path / "db", transform="crop_size: 7"))
    assert "record 0: crop_size 7 is larger than the image, 8x6" in message


def test_a_mean_of_another_size(tmp_path):
    made_set(tmp_path / "db")
    transform = f'mean_file: "{FORMATS}/mean/raw_lmdb.binaryproto"'
    assert "the mean image is 26x20x3, the image 8x6x3" in error_of(data_layer(tmp_path / "db", transform=transform))


def test_another_number_of_mean_values_than_channels(tmp_path):
    made_set(tmp_path / "db")
    message = error_of(data_layer(tmp_path / "db", transform="mean_value: 1 mean_value: 2"))
    assert "2 mean_values for 3 channels; give 1 or 3" in message


def test_mean_file_and_mean_value_together(tmp_path):
    made_set(tmp_path / "db")
    message = error_of(data_layer(tmp_path / "db", transform='mean_file: "m" mean_value: 2'))
    assert message == "layer 'd': transform_param has both mean_file and mean_value; keep one"


def test_a_mean_file_that_is_missing(tmp_path):
    made_set(tmp_path / "db")
    assert "layer 'd': 'gone' is not at" in error_of(data_layer(tmp_path / "db", transform='mean_file: "gone"'))


def test_batch_size_zero(tmp_path):
    made_set(tmp_path / "db")
    assert error_of(data_layer(tmp_path / "db", batch=0)) == "layer 'd': data_param.batch_size is 0; set it above 0"


def test_an_encoded_record_that_is_no_image(tmp_path):
    message = error_of(data_layer(written(tmp_path / "db", encode_image_file(b"no image", 1)), batch=1))
    assert "record 0: the image cannot be decoded" in message


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_a_truncated_image_file_is_named(tmp_path, kind):
    content = encode_image(np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8), kind)
    message = error_of(data_layer(written(tmp_path / "db", encode_image_file(content[:-100], 1)), batch=1))
    assert message == f"{tmp_path}/db: record 0: the image cannot be decoded; its file ends early"


@pytest.mark.parametrize("package, backend", [("lmdb", "LMDB"), ("plyvel", "LEVELDB")])
def test_a_missing_package_names_the_extra(package, backend, monkeypatch, in_formats):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    message = error_of(data_layer(f"db/raw_{backend.lower()}", backend=backend))
    assert f"needs the package {package}: pip install caffe_compat[data]" in message


def test_hdf5_data_equals_caffe_through_three_files_and_round_again(in_formats):
    expected = np.load("data/hdf5_multi.npz")
    layer = golden_layer(Path("data/hdf5_multi.prototxt"))
    for index in range(len(expected["batches_data"])):
        for top, value in zip(layer.param.top, layer.next_batch(), strict=True):
            np.testing.assert_array_equal(value.numpy(), expected[f"batches_{top}"][index])


def hdf5_set(folder, rows=(4, 3), names=("data", "label")):
    row = 0
    for index, count in enumerate(rows):
        with h5py.File(folder / f"part{index}.h5", "w") as file:
            for name in names:
                file[name] = np.arange(row, row + count, dtype=np.float32).reshape(-1, 1)
        row += count
    (folder / "list.txt").write_text("".join(f"part{index}.h5\n" for index in range(len(rows))))
    return 'name: "h" type: "HDF5Data" top: "data" top: "label" hdf5_data_param { source: "list.txt" batch_size: 2 %s }'


def test_hdf5_list_beside_the_net_is_found_from_another_working_directory(tmp_path):
    layer = layer_of(hdf5_set(tmp_path) % "", folder=tmp_path)
    assert layer.next_batch()[0].flatten().tolist() == [0, 1]


def test_hdf5_names_may_share_a_line_and_may_have_spaces(tmp_path):
    text = hdf5_set(tmp_path) % ""
    (tmp_path / "part1.h5").rename(tmp_path / "part 1.h5")
    (tmp_path / "list.txt").write_text("part0.h5 part0.h5\n\npart 1.h5\n")
    layer = layer_of(text, folder=tmp_path)
    rows = torch.cat([layer.next_batch()[0] for _ in range(6)]).flatten().tolist()
    assert rows == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 0]


def test_hdf5_shuffle_visits_every_row_once_a_pass_in_a_new_order(tmp_path):
    layer = layer_of(hdf5_set(tmp_path, rows=(4, 6)) % "shuffle: true", folder=tmp_path)
    passes = [torch.cat([layer.next_batch()[0] for _ in range(5)]).flatten().tolist() for _ in range(2)]
    assert sorted(passes[0]) == sorted(passes[1]) == list(range(10))
    assert passes[0] != passes[1]


def test_seek_gives_the_same_batches_again(tmp_path):
    layer = layer_of(hdf5_set(tmp_path) % "shuffle: true", folder=tmp_path)
    first = [layer.next_batch()[0] for _ in range(9)]
    layer.seek(3)
    assert layer.cursor == 3
    for batch in first[3:]:
        assert torch.equal(layer.next_batch()[0], batch)


def test_copies_and_pickles_go_on_where_the_layer_stood(tmp_path):
    layer = layer_of(hdf5_set(tmp_path) % "", folder=tmp_path)
    layer.next_batch()
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert other.next_batch()[0].flatten().tolist() == [2, 3]


def test_a_forked_child_reads_for_itself(tmp_path):
    layer = layer_of(hdf5_set(tmp_path) % "", folder=tmp_path)
    layer.next_batch()
    child = os.fork()
    if child == 0:
        os._exit(0 if layer.next_batch()[0].flatten().tolist() == [2, 3] else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_hdf5_dataset_missing_names_it_and_what_is_there(tmp_path):
    text = hdf5_set(tmp_path, names=("images", "label")) % ""
    with pytest.raises(DataError, match=r"part0.h5: no dataset 'data'; .* it has images, label"):
        layer_of(text, folder=tmp_path).next_batch()


def test_hdf5_list_missing_names_layer_and_places():
    with pytest.raises(DataError, match=r"layer 'h': 'gone.txt' is not at /"):
        layer_of('name: "h" type: "HDF5Data" top: "d" hdf5_data_param { source: "gone.txt" batch_size: 1 }').top_shapes(
            []
        )


def test_hdf5_file_missing_from_the_list_is_named(tmp_path):
    text = hdf5_set(tmp_path) % ""
    (tmp_path / "part1.h5").unlink()
    with pytest.raises(DataError, match=r"list.txt: 'part1.h5' is not at "):
        layer_of(text, folder=tmp_path).next_batch()


def test_a_file_that_is_not_hdf5_is_refused(tmp_path):
    text = hdf5_set(tmp_path) % ""
    (tmp_path / "part1.h5").write_bytes(b"no hdf5")
    with pytest.raises(DataError, match=r"part1.h5: cannot be read as HDF5"):
        layer_of(text, folder=tmp_path).next_batch()


def test_hdf5_ranks_share_the_rows_in_turn(tmp_path):
    text = hdf5_set(tmp_path) % ""
    seen = []
    for rank in range(3):
        layer = layer_of(text, folder=tmp_path)
        layer.share(rank, 3)
        seen.append(torch.cat([layer.next_batch()[0] for _ in range(4)]).flatten().tolist())
    assert [row for together in zip(*seen, strict=True) for row in together] == [n % 7 for n in range(24)]


def image_layer(fields):
    return f'name: "i" type: "ImageData" top: "data" top: "label" image_data_param {{ source: "list.txt" {fields} }}'


def test_image_data_needs_both_new_sizes(in_formats):
    message = error_of(image_layer("new_height: 5"))
    assert message == "layer 'i': image_data_param needs both new_height and new_width, or neither"


def test_images_beside_the_net_are_found_from_another_working_directory():
    layer = layer_of(image_layer('root_folder: "images/" batch_size: 2'), phase="TEST", folder=FORMATS)
    expected = np.load(FORMATS / "data" / "image_plain.npz")["batches_data"][0][:2]
    np.testing.assert_allclose(layer.next_batch()[0].numpy(), expected, rtol=0, atol=2)


def test_window_data_with_an_unknown_crop_mode(in_formats):
    window = 'window_data_param { source: "windows.txt" batch_size: 2 crop_mode: "round" }'
    message = error_of(f'name: "w" type: "WindowData" top: "data" top: "label" {window}')
    assert message == "layer 'w': crop_mode is 'round'; allowed: warp, square"
