"""Binary or text is told by content, whatever a file is called and whatever stray bytes a text has."""

from __future__ import annotations

from pathlib import Path

import pytest

import caffe_compat as cc
from tests.conftest import golden

NET = b'name: "n"\nlayer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 3 } } }\n'
MODEL = golden("formats", "caffemodel", "net.caffemodel")
TEXTS = {
    "plain": NET,
    "a zero byte in a name": NET.replace(b'"d"', b'"\0d"', 1),
    "a zero byte at the end": NET + b"\0",
    "a block of zeros behind it": NET + bytes(4096 - len(NET)),
    "an escape sequence": NET.replace(b'"n"', b'"\x1b[31mn"'),
    "a comment first": b"# a\x00b\n" + NET * 3,
    "a mark of byte order": b"\xef\xbb\xbf" + NET + b"\0",
    "utf-16": NET.decode().encode("utf-16"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_with_stray_bytes_is_text(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(TEXTS[name])
    assert not cc.is_binary(tmp_path / "file")


def test_weights_are_binary_also_where_their_net_has_a_name_that_reads_as_a_field(tmp_path: Path) -> None:
    assert cc.is_binary(MODEL)
    net = cc.read_net(MODEL)
    for name in ("layer: a net whose name is as long as this", 'name: "x"' * 8, "input { " * 20, "#" * 35):
        net.name = name
        cc.write_model(cc.Model(net, cc.read_weights(MODEL)), tmp_path / "n.prototxt", tmp_path / "n.caffemodel")
        assert cc.is_binary(tmp_path / "n.caffemodel") and cc.read_net(tmp_path / "n.caffemodel").name == name


@pytest.mark.parametrize("name", [name for name, text in TEXTS.items() if b"\0" in text and name != "utf-16"])
def test_a_zero_byte_in_a_prototxt_is_placed(tmp_path: Path, name: str) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes(TEXTS[name])
    text = TEXTS[name].removeprefix(b"\xef\xbb\xbf")
    at = text.index(b"\0")
    line, column = text.count(b"\n", 0, at) + 1, at - text.rfind(b"\n", 0, at)
    for read in (cc.read_net, cc.read_model, cc.read_solver):
        with pytest.raises(cc.ParseError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}:{line}:{column}: a zero byte stands here")


def test_a_control_sign_in_a_string_is_read_as_protobuf_reads_it(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_bytes(TEXTS["an escape sequence"])
    assert cc.read_net(tmp_path / "net.prototxt").name == "\x1b[31mn"


def test_a_file_of_zeros_is_called_that(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_bytes(bytes(5000))
    for read in (cc.read_net, cc.read_model, cc.read_weights):
        with pytest.raises(cc.ParseError, match=r"net.prototxt: the file holds nothing but zeros"):
            read(tmp_path / "net.prototxt")


@pytest.mark.parametrize(("text", "told"), [("", "is empty"), (" \n\t", "is empty"), ("# a\n", "has no layers")])
def test_a_model_needs_layers(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "net.prototxt").write_text(text)
    with pytest.raises(cc.ParseError, match=told):
        cc.read_model(tmp_path / "net.prototxt")


@pytest.mark.parametrize("text", [" " * 4000 + "\x01", "\n" * 4000 + "\0", "#\n" * 2000 + "\x01", "1 " * 2000 + "\x01"])
def test_long_runs_of_blanks_are_told_apart_at_once(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(cc.ParseError):
        cc.read_model(tmp_path / "file")
