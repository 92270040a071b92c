"""HDF5 weights and solver states: files of real Caffe, the same written by us, and files that nobody should trust."""

import h5py
import numpy as np
import pytest

from caffe_compat.errors import ParseError, WeightsError
from caffe_compat.proto.binary import SolverStateFile
from caffe_compat.proto.binary import read_net as read_binary
from caffe_compat.proto.binary import read_solver_state as read_binary_state
from caffe_compat.proto.hdf5 import read_solver_state, read_weights, write_solver_state, write_weights
from caffe_compat.proto.model import read_net
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text
from tests.conftest import golden

SAVED = golden("formats", "caffemodel")
STATES = sorted(golden("resume").rglob("*.solverstate.h5"))


def listing(path):
    """Every group and data set of a file: its type, shape and bytes."""
    found = {}

    def note(name, item):
        is_data = isinstance(item, h5py.Dataset)
        string = item.id.get_type().get_strpad() if is_data and item.dtype.kind == "S" else None
        found[name] = (item.dtype.str, item.shape, item[()].tobytes(), string) if is_data else None

    with h5py.File(path) as file:
        file.visititems(note)
    return found


def test_blobs_of_golden_file_are_those_of_the_binary_file():
    net = read_net(SAVED / "net.prototxt")
    weights, expected = read_weights(SAVED / "net.caffemodel.h5", net), read_binary(SAVED / "net.caffemodel")[1]
    assert weights.keys() == expected.keys()
    for layer in expected:
        for found, wanted in zip(weights[layer], expected[layer], strict=True):
            np.testing.assert_array_equal(found, wanted, strict=True)


def test_shared_blob_is_with_its_owner_only_when_no_net_is_given():
    assert "ip2" not in read_weights(SAVED / "net.caffemodel.h5")


def test_written_weights_have_the_groups_and_data_sets_of_caffe(tmp_path):
    weights = read_binary(SAVED / "net.caffemodel")[1]
    write_weights(tmp_path / "copy.h5", weights, read_net(SAVED / "net.prototxt"))
    assert listing(tmp_path / "copy.h5") == listing(SAVED / "net.caffemodel.h5")


def test_shared_blob_that_differs_from_its_owners_is_kept(tmp_path):
    weights = dict(read_binary(SAVED / "net.caffemodel")[1])
    weights["ip2"] = (weights["ip2"][0] + 1, weights["ip2"][1])
    net = read_net(SAVED / "net.prototxt")
    write_weights(tmp_path / "copy.h5", weights, net)
    np.testing.assert_array_equal(read_weights(tmp_path / "copy.h5", net)["ip2"][0], weights["ip2"][0])


@pytest.mark.parametrize("path", STATES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_solver_state_is_read_as_its_binary_twin_and_written_as_caffe_writes_it(path, tmp_path):
    state = read_solver_state(path)
    twin = path.parent / path.name.replace("snaph5", "snap").removesuffix(".h5")
    twin = read_binary_state(twin)
    assert (state.iteration, state.current_step) == (twin.iteration, twin.current_step)
    for found, wanted in zip(state.history, twin.history, strict=True):
        np.testing.assert_array_equal(found, wanted, strict=True)
    write_solver_state(tmp_path / "copy.h5", state)
    assert listing(tmp_path / "copy.h5") == listing(path)


def test_slash_in_a_layer_name_is_read_as_nested_groups(tmp_path):
    path = tmp_path / "slash.h5"
    with h5py.File(path, "w") as file:
        file["data/conv1/7x7_s2/0"] = np.ones((2, 3), np.float32)
        file["data/conv1/7x7_s2/1"] = np.zeros(2)
        file["data/conv1/0"] = np.float32(5)
        file.create_group("data/conv1/relu_7x7")
    weights = read_weights(path)
    assert set(weights) == {"conv1", "conv1/7x7_s2"}
    assert [(blob.shape, blob.dtype) for blob in weights["conv1/7x7_s2"]] == [((2, 3), np.float32), ((2,), np.float64)]


@pytest.mark.parametrize("name", ["conv1/7x7", "", "."])
def test_layer_name_that_hdf5_cannot_hold_is_refused_with_the_way_out(name, tmp_path):
    with pytest.raises(WeightsError, match=r"cannot go into HDF5, where '/' parts groups; write a \.caffemodel"):
        write_weights(tmp_path / "a.h5", {name: (np.zeros(2, np.float32),)})
    assert not list(tmp_path.iterdir())


def test_empty_state_and_scalar_blobs_survive(tmp_path):
    state = SolverStateFile(3, "", (np.float32(2).reshape(()), np.zeros((0, 3), np.float32)), 1)
    write_solver_state(tmp_path / "s.h5", state)
    found = read_solver_state(tmp_path / "s.h5")
    assert (found.iteration, found.learned_net, found.current_step) == (3, "", 1)
    assert [blob.shape for blob in found.history] == [(), (0, 3)]


def hostile(file, what):
    """Put one thing into a weights file that Caffe never writes."""
    layer = file.create_group("data/a")
    if what == "declared":
        layer.create_dataset("0", (1 << 20, 1 << 12), np.float32)
    elif what == "deflated":
        layer.create_dataset("0", (1 << 23,), np.float32, compression="gzip", chunks=(1 << 20,)).write_direct(
            np.zeros(1 << 23, np.float32)
        )
    elif what == "external link":
        layer["0"] = h5py.ExternalLink("/etc/hostname", "/")
    elif what == "soft link":
        layer["0"] = h5py.SoftLink("/data/b/0")
    elif what == "external data":
        layer.create_dataset("0", (4,), np.uint8, external=[("/etc/hostname", 0, 4)])
    elif what == "cycle":
        layer["again"] = file["data"]
    elif what == "text":
        layer["0"] = "words"
    elif what == "gap":
        layer["0"], layer["2"] = np.float32(0), np.float32(2)
    elif what == "stray":
        file["data/0"] = np.float32(1)
    elif what == "huge index":
        layer["99999999999"] = np.float32(0)


HOSTILE = {
    "declared": "/data/a/0 of shape (1048576, 4096) should have 17179869184 bytes, 0 are stored",
    "deflated": "/data/a/0 of shape (8388608,) should have 33554432 bytes",
    "external link": "/data/a/0 is a link to elsewhere",
    "soft link": "/data/a/0 is a link to elsewhere",
    "external data": "/data/a/0 lies in another file",
    "cycle": "more than 32 groups lie in one another",
    "text": "/data/a/0 does not hold numbers",
    "gap": "'a' has no blob 1, but blob 2",
    "stray": "/data/0 is not a blob",
    "huge index": "'a' has no blob 0, but blob 99999999999",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_file_is_refused_before_memory_is_taken(what, tmp_path):
    path = tmp_path / "hostile.h5"
    with h5py.File(path, "w") as file:
        hostile(file, what)
    with pytest.raises(ParseError) as caught:
        read_weights(path)
    assert str(caught.value).startswith(f"{path}: ") and HOSTILE[what] in str(caught.value)


def test_file_that_is_cut_short_or_no_hdf5_is_refused(tmp_path):
    data = (SAVED / "net.caffemodel.h5").read_bytes()
    path = tmp_path / "cut.h5"
    for length in (8, 100, 600, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(ParseError, match=r"cut\.h5: cannot be read as HDF5"):
            read_weights(path)


def test_weights_and_state_taken_for_each_other_are_named():
    with pytest.raises(ParseError, match="no group /history, so that it is no solver's state"):
        read_solver_state(SAVED / "net.caffemodel.h5")
    with pytest.raises(ParseError, match="this is a solver's state, not weights"):
        read_weights(STATES[0])


def test_a_layer_name_with_a_nul_character_cannot_go_into_hdf5(tmp_path):
    with pytest.raises(WeightsError, match="cannot go into HDF5"):
        write_weights(tmp_path / "w.h5", {"a\0b": (np.zeros(1, np.float32),)})


def test_a_blob_belongs_to_the_first_layer_of_the_phase_that_wrote_it(tmp_path):
    """As a net of TRAIN writes it, whose prototxt has the name in a layer of TEST before."""
    param = 'param { name: "w" }'
    text = "".join(
        f'layer {{ name: "{name}" type: "InnerProduct" {param} }} ' for name in ("tested", "first", "second")
    )
    net = parse_text(text, NetParameter)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["data/first/0"] = np.float32([[1, 2]])
        file.create_group("data/second")
    found = read_weights(tmp_path / "w.h5", net)
    assert [found[name][0].tolist() for name in ("tested", "first", "second")] == [[[1, 2]]] * 3
