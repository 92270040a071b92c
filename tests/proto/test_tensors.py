"""Weights as safetensors: every blob to the bit, the net beside them, and a line for what does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe_compat as cc
from caffe_compat.commands import main
from tests.conftest import golden

safetensors = pytest.importorskip("safetensors.numpy")
SAVED = golden("formats", "caffemodel") / "net.caffemodel"


def test_weights_go_to_safetensors_and_back_to_the_bit(tmp_path: Path) -> None:
    middle, back = tmp_path / "a.safetensors", tmp_path / "b.caffemodel"
    assert main(["convert", str(SAVED), str(middle)]) == 0
    found, wanted = safetensors.load_file(middle), cc.read_weights(SAVED)
    assert found.keys() == {f"{layer}.{i}" for layer, blobs in wanted.items() for i in range(len(blobs))}
    for layer, blobs in wanted.items():
        for index, blob in enumerate(blobs):
            np.testing.assert_array_equal(found[f"{layer}.{index}"], blob, strict=True)
    assert main(["convert", str(middle), str(back)]) == 0
    assert back.read_bytes() == SAVED.read_bytes()


def test_names_with_dots_and_slashes_are_kept(tmp_path: Path) -> None:
    net = cc.parse_text('name: "n" layer { name: "a.1/b" type: "Bias" bottom: "x" top: "y" }', cc.NetParameter)
    cc.write_net(tmp_path / "a.caffemodel", net, {"a.1/b": (np.ones(3, np.float32), np.zeros((2, 2), np.float32))})
    cc.convert_weights(tmp_path / "a.caffemodel", tmp_path / "a.safetensors")
    model = cc.convert_weights(tmp_path / "a.safetensors", tmp_path / "b.caffemodel")
    assert [blob.shape for blob in model.weights["a.1/b"]] == [(3,), (2, 2)]


def test_tensors_of_others_need_the_net(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "w.safetensors"
    safetensors.save_file({"a.0": np.ones(3, np.float16)}, path)
    words = ["convert", str(path), str(tmp_path / "w.caffemodel")]
    assert main(words) == 2 and "has no net in its metadata; give --net" in capsys.readouterr().err
    (tmp_path / "n.prototxt").write_text('layer { name: "a" type: "Bias" bottom: "x" top: "y" }')
    assert main([*words, "--net", str(tmp_path / "n.prototxt")]) == 0
    np.testing.assert_array_equal(cc.read_weights(tmp_path / "w.caffemodel")["a"][0], np.ones(3, np.float32))


@pytest.mark.parametrize(
    ("tensors", "wanted"),
    [
        ({"a.weight": np.ones(2, np.float32)}, "tensor 'a.weight' is no blob of a layer"),
        ({"a.1": np.ones(2, np.float32)}, "layer 'a' has blobs [1]; wanted 0 to 0"),
        ({"a.0": np.ones(2, np.int64)}, "tensor 'a.0' is no blob"),
        (None, "cannot be read as safetensors"),
    ],
)
def test_what_does_not_fit_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tensors: dict[str, np.ndarray] | None, wanted: str
) -> None:
    path = tmp_path / "w.safetensors"
    if tensors is None:
        path.write_bytes(b"junk" * 10)
    else:
        safetensors.save_file(tensors, path)
    assert main(["convert", str(path), str(tmp_path / "w.caffemodel"), "--net", str(SAVED)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert wanted in line and not (tmp_path / "w.caffemodel").exists()


def test_weights_are_read_from_safetensors_wherever_weights_are(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    cc.convert_weights(SAVED, path)
    wanted = cc.read_weights(SAVED)
    for found in (cc.read_weights(path), cc.read_model(path).weights, cc.read_model(SAVED, path).weights):
        assert list(found) == list(wanted)
        for name, blobs in wanted.items():
            for blob, own in zip(blobs, found[name], strict=True):
                np.testing.assert_array_equal(blob, own, strict=True)


def test_a_file_of_another_program_is_outlined_type_by_type(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    kinds = ("float32", "float64", "float16", "bfloat16", "int64", "uint8", "bool", "float8_e4m3fn")
    values = torch.tensor([[0.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    tensors = {f"w.{kind}": values.to(getattr(torch, kind)) for kind in kinds}
    save_file({**tensors, "none": torch.zeros(0, 2)}, tmp_path / "w.safetensors", {"format": "pt"})
    found = cc.outline(tmp_path / "w.safetensors", statistics=True)
    assert found.kind == "safetensors: tensors" and found.facts == {"tensors": 9, "metadata": "format"}
    rows = {row.owner: row for row in found.blobs}
    for kind in kinds:
        row = rows[f"w.{kind}"]
        assert (row.shape, row.dtype) == ((2, 3), kind.removesuffix("fn"))
        if kind == "float8_e4m3fn":
            assert row.statistics is None
        else:
            assert (row.statistics.mean, row.statistics.zeros) == (pytest.approx(2 / 3), pytest.approx(1 / 3))


def test_weights_with_their_net_are_outlined_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    cc.convert_weights(SAVED, path)
    found, wanted = cc.outline(path), cc.outline(SAVED)
    assert found.kind == "safetensors: weights with their net"
    assert [(row.owner, row.type, row.index, row.shape) for row in found.blobs] == [
        (row.owner, row.type, row.index, row.shape) for row in wanted.blobs
    ]


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ('{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}', "ends beyond the file"),
        ('{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}', r"tensor 'a' of shape \(3,\) has 8 bytes"),
        ('{"a":{"dtype":"F3","shape":[2],"data_offsets":[0,8]}}', "of the unknown type F3"),
        ('{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,-8]}}', "no row of whole numbers"),
        ('{"a":{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}}', "no row of whole numbers"),
        ('{"a":{"shape":[2],"data_offsets":[0,8]}}', "cannot be read as safetensors"),
        ('{"a":3}', "cannot be read as safetensors"),
        ('{"a":', "cannot be read as safetensors"),
        ("{" + '"a":[' * 4000, "too deep|cannot be read as safetensors"),
    ],
)
def test_a_damaged_header_is_one_line(tmp_path: Path, header: str, wanted: str) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + b"\0" * 8)
    with pytest.raises(cc.ParseError, match=wanted):
        cc.outline(path)
    path.write_bytes(path.read_bytes()[: 8 + len(header) // 2])
    with pytest.raises(cc.ParseError, match="is cut short"):
        cc.outline(path)


def test_a_file_that_cannot_be_read_is_not_said_to_hold_no_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    safetensors.save_file({"a.weight": np.ones(3, np.float32)}, tmp_path / "w.safetensors")
    (tmp_path / "n.prototxt").write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 } } } '
        'layer { name: "a" type: "Bias" bottom: "x" top: "y" }'
    )
    assert main(["check", str(tmp_path / "n.prototxt"), str(tmp_path / "w.safetensors")]) == 2
    told = capsys.readouterr()
    assert "tensor 'a.weight' is no blob of a layer" in told.err and "holds no weights" not in told.out
