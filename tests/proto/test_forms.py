"""What a file says of a blob beside shape and values is written back: half precision, diffs, old shapes."""

import numpy as np
import pytest

from caffe_compat.proto import schema
from caffe_compat.proto.binary import read_net, read_net_and_forms, write_net
from caffe_compat.proto.model import read_model, write_model
from caffe_compat.proto.wire import delimited, tag, varint
from tests.conftest import golden, shared

F2, F4, F8 = "<f2", "<f4", "<f8"
SHAPE = delimited(7, delimited(1, b"\x02\x03"))
VALUES = np.array([0.5, -2, 1024, 0.1, 6e-8, 3], np.float16)  # 6e-8 is subnormal in half precision


def number(field, value):
    return tag(field, 0) + varint(value)


def packed(field, kind, values=VALUES):
    return delimited(field, np.asarray(values, kind).tobytes())


# A BlobProto as some Caffe writes it -> the values in it. Numbers: caffe.proto of BVLC, NVIDIA, the ternary fork
BLOBS = {
    "diff": packed(5, F4) + packed(6, F4, VALUES * 2) + SHAPE,
    "double diff": SHAPE + packed(8, F8) + packed(9, F8, VALUES * 3),
    "half": SHAPE + number(10, 2) + number(11, 2) + delimited(12, VALUES.tobytes()),
    "half and its diff": SHAPE + number(10, 2) + number(11, 2) + packed(12, F2) + packed(13, F2),
    "float as raw data": SHAPE + number(10, 1) + packed(12, F4),
    "legacy": number(1, 1) + number(2, 1) + number(3, 2) + number(4, 3) + packed(5, F4),
    "legacy diff": number(1, 1) + number(2, 1) + number(3, 2) + number(4, 3) + packed(5, F4) + packed(6, F4),
    "ternary": packed(5, F4) + SHAPE + packed(10, F4),
    "unknown": packed(5, F4) + SHAPE + number(4000, 9),
}


def caffemodel(*blobs):
    fields = b"".join(delimited(7, blob) for blob in blobs)
    return delimited(100, delimited(1, b"ip") + delimited(2, b"InnerProduct") + fields)


@pytest.mark.parametrize("name", BLOBS)
def test_blob_is_read_and_written_back_byte_for_byte(name, tmp_path):
    path, plain = tmp_path / "in.caffemodel", packed(5, F4, [7]) + delimited(7, delimited(1, b"\x01"))
    path.write_bytes(caffemodel(BLOBS[name], plain))
    net, weights, forms = read_net_and_forms(path)
    blob = weights["ip"][0]
    assert blob.shape == (2, 3) and blob.dtype == (np.float64 if "double" in name else np.float32)
    np.testing.assert_array_equal(blob.ravel(), VALUES)
    assert forms["ip"][1] is None
    write_net(tmp_path / "out.caffemodel", net, weights, forms)
    assert (tmp_path / "out.caffemodel").read_bytes() == path.read_bytes()


def test_net_read_and_written_as_a_model_keeps_its_forms(tmp_path):
    path = tmp_path / "in.caffemodel"
    path.write_bytes(caffemodel(BLOBS["half"]))
    write_model(read_model(path), tmp_path / "net.prototxt", tmp_path / "out.caffemodel")
    assert (tmp_path / "out.caffemodel").read_bytes() == path.read_bytes()
    other = read_model(tmp_path / "net.prototxt", path)
    write_model(other, tmp_path / "net.prototxt", tmp_path / "out.caffemodel")
    assert (tmp_path / "out.caffemodel").read_bytes() == path.read_bytes()


def test_values_that_half_precision_lacks_are_written_in_single(tmp_path):
    path = tmp_path / "a.caffemodel"
    path.write_bytes(caffemodel(BLOBS["half"]))
    net, weights, forms = read_net_and_forms(path)
    for value in (1e6, 0.1):
        trained = weights["ip"][0].copy()
        trained[0, 0] = value
        write_net(path, net, {"ip": (trained,)}, forms)
        blob = schema.NetParameter.FromString(path.read_bytes()).layer[0].blobs[0]
        assert blob.data[0] == np.float32(value) and not blob.HasField("raw_data")


def test_blob_of_another_shape_is_written_plainly(tmp_path):
    path = tmp_path / "a.caffemodel"
    path.write_bytes(caffemodel(BLOBS["legacy diff"]))
    net, weights, forms = read_net_and_forms(path)
    write_net(path, net, {"ip": (weights["ip"][0][:, :2],)}, forms)
    blob = schema.NetParameter.FromString(path.read_bytes()).layer[0].blobs[0]
    assert list(blob.shape.dim) == [2, 2] and not blob.diff and not blob.HasField("num")


@pytest.mark.parametrize("name", ["v0", "v1", "v1_noinput"])
def test_old_file_is_written_byte_for_byte_as_caffes_upgrade_tool_writes_it(name, tmp_path):
    folder = golden("formats", "upgrade_binary")
    write_net(tmp_path / "out.caffemodel", *read_net_and_forms(folder / f"{name}.caffemodel"))
    assert (tmp_path / "out.caffemodel").read_bytes() == (folder / f"{name}.upgraded.caffemodel").read_bytes()


def test_every_real_model_is_written_back_as_the_same_message(tmp_path):
    checked = 0
    for path in sorted(shared("models").glob("*/*.caffemodel")):
        message = schema.NetParameter.FromString(path.read_bytes())
        write_net(tmp_path / "out.caffemodel", *read_net_and_forms(path))
        written = (tmp_path / "out.caffemodel").read_bytes()
        if message.layers:  # the upgrade changes the layers; their blobs stay
            blobs = [layer.blobs for layer in message.layers]
            found = [layer.blobs for layer in schema.NetParameter.FromString(written).layer]
            assert [b for each in found for b in each] == [b for each in blobs for b in each]
        else:
            assert written == path.read_bytes()
        checked += 1
    assert checked >= 12


def test_second_layer_of_a_name_keeps_its_weights_under_another_name(tmp_path):
    path = tmp_path / "twice.caffemodel"
    one, two = (packed(5, F4, [value]) + delimited(7, delimited(1, b"\x01")) for value in (1, 2))
    path.write_bytes(caffemodel(one) + caffemodel(two))
    assert read_net(path)[1]["ip"][0][0] == 2
    net, weights, _ = read_net_and_forms(path, rename_duplicates=True)
    assert [layer.name for layer in net.layer] == ["ip", "ip_2"]
    assert weights["ip"][0][0] == 1 and weights["ip_2"][0][0] == 2
