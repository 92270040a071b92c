"""Binary weights and solver states: files of real Caffe, byte for byte, and files that are damaged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_compat.errors import ParseError, WeightsError
from caffe_compat.proto import schema
from caffe_compat.proto.binary import (
    SolverStateFile,
    read_blob,
    read_net,
    read_solver_state,
    write_blob,
    write_net,
    write_solver_state,
)
from tests.conftest import golden

CURRENT = [golden("formats", "caffemodel", "net.caffemodel"), *sorted(golden("resume").rglob("*.caffemodel"))]
STATES = sorted(golden("resume").rglob("*.solverstate"))
OLD = ["v0", "v0.upgraded", "v1", "v1.upgraded", "v1_noinput", "v1_noinput.upgraded", "v2_legacy_blobs"]


def name_of(path):
    return str(path.relative_to(golden()))


@pytest.mark.parametrize("path", CURRENT, ids=name_of)
def test_current_caffemodel_is_written_back_byte_for_byte(path, tmp_path):
    net, weights = read_net(path)
    assert not any(layer.blobs for layer in net.layer)
    write_net(tmp_path / "copy.caffemodel", net, weights)
    assert (tmp_path / "copy.caffemodel").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("path", STATES, ids=name_of)
def test_solver_state_is_written_back_byte_for_byte(path, tmp_path):
    state = read_solver_state(path)
    write_solver_state(tmp_path / "copy.solverstate", state)
    assert (tmp_path / "copy.solverstate").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("path", STATES, ids=name_of)
def test_solver_state_has_the_history_that_caffe_held(path):
    state, iteration = read_solver_state(path), int(path.stem.rsplit("_", 1)[1])
    expected = np.load(path.parent / "resume.npz")
    run = {15: "at15", 30: "straight30"}[iteration]
    assert state.iteration == iteration
    assert state.learned_net.endswith(f"iter_{iteration}.caffemodel")
    assert state.current_step == int(expected[f"{run}/current_step"])
    history = [expected[f"{run}/hist/{i}"] for i in range(len(state.history))]
    assert f"{run}/hist/{len(history)}" not in expected
    for found, wanted in zip(state.history, history, strict=True):
        np.testing.assert_array_equal(found, wanted, strict=True)


@pytest.mark.parametrize("name", OLD)
def test_old_caffemodel_gives_the_weights_and_shapes_of_today(name):
    folder = golden("formats", "upgrade_binary")
    expected = np.load(folder / "expected.npz")
    net, weights = read_net(folder / f"{name}.caffemodel")
    assert not net.layers
    for layer, count in (("conv", 2), ("ip", 2)):
        assert len(weights[layer]) == count
        for i, array in enumerate(weights[layer]):
            np.testing.assert_array_equal(array.astype(np.float32), expected[f"param_{layer}_{i}"], strict=True)


@pytest.mark.parametrize("name", ["v0", "v1", "v1_noinput"])
def test_old_caffemodel_gives_the_net_that_caffe_made_of_it(name):
    folder = golden("formats", "upgrade_binary")
    wanted = schema.NetParameter.FromString((folder / f"{name}.upgraded.caffemodel").read_bytes())
    for layer in wanted.layer:
        layer.ClearField("blobs")
    assert read_net(folder / f"{name}.caffemodel")[0] == wanted


def test_shared_parameters_stand_in_every_layer_of_the_binary_file():
    weights = read_net(golden("formats", "caffemodel", "net.caffemodel"))[1]
    expected = np.load(golden("formats", "caffemodel", "expected.npz"))
    names = [key.removeprefix("param_") for key in expected if key.startswith("param_")]
    assert sorted(names) == sorted(f"{layer}_{i}" for layer, blobs in weights.items() for i in range(len(blobs)))
    for layer, blobs in weights.items():
        for i, array in enumerate(blobs):
            np.testing.assert_array_equal(array, expected[f"param_{layer}_{i}"], strict=True)


@pytest.mark.parametrize("name", ["legacy4", "legacy_bias", "shape3", "shape0", "double2", "with_diff"])
def test_blob_file_is_what_caffe_wrote(name, tmp_path):
    path = golden("formats", "blobs", f"{name}.binaryproto")
    expected = np.load(golden("formats", "blobs", "expected.npz"))[name]
    array = read_blob(path)
    np.testing.assert_array_equal(array, expected)
    assert array.shape == expected.shape
    write_blob(tmp_path / "copy.binaryproto", array)
    np.testing.assert_array_equal(read_blob(tmp_path / "copy.binaryproto"), array, strict=True)


def unpacked(field, values):
    kind = {5: "<f4", 8: "<f8"}[field]
    tag = bytes([field << 3 | {5: 5, 8: 1}[field]])
    return b"".join(tag + np.array(value, kind).tobytes() for value in values)


def test_values_with_a_tag_each_are_read_as_packed_ones(tmp_path):
    path = tmp_path / "blob.binaryproto"
    values = np.arange(1, 13)
    shape = b"\x3a\x04\x08\x03\x08\x04"
    packed = b"\x2a\x08" + values[:2].astype("<f4").tobytes()
    path.write_bytes(packed + unpacked(5, values[2:9]) + b"\x35\x00\x00\x00\x00" * 3 + shape + unpacked(5, values[9:]))
    np.testing.assert_array_equal(read_blob(path), values.reshape(3, 4).astype(np.float32), strict=True)
    path.write_bytes(unpacked(8, values) + shape)
    np.testing.assert_array_equal(read_blob(path), values.reshape(3, 4).astype(np.float64), strict=True)


def test_half_precision_raw_data_is_read_as_float32(tmp_path):
    values = np.linspace(-2, 2, 6, dtype=np.float16)
    raw = values.tobytes()
    path = tmp_path / "blob.binaryproto"
    path.write_bytes(b"\x3a\x04\x0a\x02\x02\x03" + b"\x50\x02" + b"\x62" + bytes([len(raw)]) + raw)
    np.testing.assert_array_equal(read_blob(path), values.astype(np.float32).reshape(2, 3), strict=True)


def net_of(text_layers):
    net = schema.NetParameter()
    for name in text_layers:
        net.layer.add(name=name, type="InnerProduct")
    return net


def test_double_weights_stay_double(tmp_path):
    weights = {"a": (np.array([[1 / 3, 2 / 3]]), np.float32(0.1).reshape(()))}
    write_net(tmp_path / "a.caffemodel", net_of("a"), weights)
    blobs = schema.NetParameter.FromString((tmp_path / "a.caffemodel").read_bytes()).layer[0].blobs
    assert list(blobs[0].double_data) == [1 / 3, 2 / 3] and list(blobs[0].shape.dim) == [1, 2]
    assert blobs[1].HasField("shape") and not blobs[1].shape.dim and len(blobs[1].data) == 1
    found = read_net(tmp_path / "a.caffemodel")[1]["a"]
    for array, wanted in zip(found, weights["a"], strict=True):
        np.testing.assert_array_equal(array, wanted, strict=True)


def test_array_of_any_layout_and_type_is_written_as_its_values(tmp_path):
    array = np.arange(24, dtype=">f4").reshape(2, 3, 4).transpose(2, 0, 1)
    write_net(tmp_path / "a.caffemodel", net_of("a"), {"a": (array, np.arange(3), np.float16([0.5]))})
    found = read_net(tmp_path / "a.caffemodel")[1]["a"]
    np.testing.assert_array_equal(found[0], array)
    np.testing.assert_array_equal(found[1], np.arange(3))
    np.testing.assert_array_equal(found[2], [0.5])


def test_weights_without_layer_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="weights for layer 'b', which the net lacks"):
        write_net(tmp_path / "a.caffemodel", net_of("a"), {"b": (np.zeros(1, np.float32),)})
    assert not list(tmp_path.iterdir())


DAMAGED = {
    b"": "the file is empty",
    b"\x0a\x05abc": "byte 0: field 1 says 5 bytes, 3 are left; the file is cut short or damaged",
    b"\xa2\x06\xff\xff\xff\xff\x0f": "byte 0: field 100 says 4294967295 bytes, 0 are left",
    b"\xa2\x06\x80": "byte 2: the file ends inside a number",
    b"\x08" + b"\xff" * 11: "byte 1: a number has more than 10 bytes",
    b"\x07abc": "byte 0: no protobuf field starts here",
    b"\x00": "byte 0: no protobuf field starts here",
    b"\x0b\x0c": "byte 0: field 1 is a group",
    b"\xa2\x06\x04\x0a\x02\xff\xfe": "a layer's name or type is not UTF-8",
    b"\xa2\x06\x04\x1a\x02\xff\xfe": "byte 0: 'bottom' is not UTF-8",
    b"\xa2\x06\x05\x3a\x03\x2a\x01\x00": "byte 5: blob data has 1 bytes, not a multiple of 4",
    b"\xa2\x06\x08\x3a\x06\x3a\x04\x0a\x02\x02\x03": "byte 5: the blob of shape (2, 3) wants 6 values and has 0",
    b"\xa2\x06\x11\x3a\x0f\x3a\x0d\x0a\x0b\x02" + b"\xff" * 9 + b"\x01": "negative axis in its shape (2, -1)",
    b"\xa2\x06\x0e\x3a\x0c\x3a\x0a\x0a\x08" + b"\xff\xff\xff\x7f" * 2: "is larger than Caffe takes: 2147483647 values",
    b"\xa2\x06\x29\x3a\x27\x3a\x25\x0a\x23" + b"\x01" * 35: "more than Caffe's 32 axes",
    b"\xa2\x06\x03\xf2\x06\x00": None,
}


@pytest.mark.parametrize("data", DAMAGED, ids=repr)
def test_damaged_file_is_named_with_the_byte_and_the_way_out(data, tmp_path):
    path = tmp_path / "bad.caffemodel"
    path.write_bytes(data)
    if DAMAGED[data] is None:
        read_net(path)
        return
    with pytest.raises(ParseError) as caught:
        read_net(path)
    assert str(caught.value).startswith(f"{path}: ") and DAMAGED[data] in str(caught.value)


def test_every_truncation_of_a_caffemodel_is_read_or_refused(tmp_path):
    data = golden("resume", "sgd_step_shared", "snap_iter_15.caffemodel").read_bytes()
    path = tmp_path / "cut.caffemodel"
    refused = 0
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        try:
            read_net(path)
        except ParseError as error:
            refused += str(error).startswith(str(path))
    assert refused > 0.95 * len(data) / 7


@settings(max_examples=60, deadline=2000)
@given(st.data())
def test_flipped_and_inserted_bytes_never_do_worse_than_a_parse_error(tmp_path_factory, data):
    content = bytearray(golden("formats", "upgrade_binary", data.draw(st.sampled_from(
        ["v0.caffemodel", "v1.caffemodel", "v2_legacy_blobs.caffemodel"]))).read_bytes())  # fmt: skip
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 1))] = data.draw(st.binary(min_size=1, max_size=4))
    path = tmp_path_factory.getbasetemp() / "flipped.caffemodel"
    path.write_bytes(content)
    for read in (read_net, read_blob, read_solver_state):
        try:
            read(path)
        except ParseError as error:
            assert str(error).startswith(str(path))


def test_file_of_countless_empty_layers_is_refused_at_once(tmp_path):
    path = tmp_path / "many.caffemodel"
    path.write_bytes(b"\xa2\x06\x00" * 400_000)
    with pytest.raises(ParseError, match="more than 300000 fields"):
        read_net(path)


def test_caffemodel_given_as_solver_state_is_named_as_such():
    with pytest.raises(ParseError, match=r"this is a net with weights, not a solver's state; give a \.solverstate"):
        read_solver_state(golden("formats", "caffemodel", "net.caffemodel"))


def test_missing_file_is_a_parse_error(tmp_path):
    with pytest.raises(ParseError, match=r"none\.caffemodel: cannot be read: No such file"):
        read_net(tmp_path / "none.caffemodel")


def test_state_without_history_and_step_is_read(tmp_path):
    write_solver_state(tmp_path / "s.solverstate", SolverStateFile(7, "w.caffemodel", ()))
    assert read_solver_state(tmp_path / "s.solverstate") == SolverStateFile(7, "w.caffemodel", (), 0)
