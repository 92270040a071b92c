"""Prototxt is read as protobuf's own C++ parser reads it: `protoc --encode` takes the same forms, to the same bytes."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from caffe_compat.errors import ParseError
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text
from tests.conftest import ROOT

NUMBERS = [
    "0", "1", "7", "-1", "010", "010.5", "09", "08.5", "00.5", "00", "0777", "0888", "0x10", "0X1F", "-0x10",
    "0xg", "0x", "1e5", "1E+5", "1e", "1e+", "1.", ".5", ".", "-.5", "1.5f", "1F", "10f", "0f", "01f", "0x1f",
    "1.5.2", "+1", "-0", "-0.0", "inf", "-inf", "INF", "Infinity", "nan", "-nan", "infinityf", "1e400", "1e-400",
    "2147483647", "2147483648", "-2147483648", "4294967295", "4294967296", "99999999999999999999999", "1_0", "1a",
    "1.e5", "1.5e-3f", ".5e1", "5.f", "00x1", "--1", "true", "True", "t", "01", "0x1",
]  # fmt: skip
VALUES = {
    "force_backward": [*NUMBERS, "false", "False", "f", "TRUE", "F", "001", "0x0", "0x2", "2", "1.0", '"1"', "'true'"],
    "input_dim": [*NUMBERS, "- 1", "-\n1", "-#c\n1", "[1]", "[1, 2]", "[]", "[1,]", "[1 2]", "[1],", "[[1]]", "{}"],
    "layer { loss_weight": [*NUMBERS, "- inf", "[1.5, -2f]", "[]", "1;", "1,", "1;;"],
    "layer { convolution_param { num_output": [*NUMBERS, "- 1"],
    "layer { phase": ["TRAIN", "TEST", "test", "0", "1", "2", "-0", "-1", "01", "0x1", "1.0", '"TEST"', "99999999999"],
    "layer { pooling_param { pool": ["MAX", "2", "3", "-1", "02", "0x2", "STOCHASTIC"],
    "name": [
        '""', "'a'", '"a" \'b\'', '"a"#c\n"b"', r'"\n\t\\\""', r'"\x41"', r'"\X41"', r'"\x4"', r'"\x"', r'"\101"',
        r'"\1"',
        r'"\8"', r'"\u00e4"', r'"\u00e"', r'"\U0001F600"', r'"\ud83d\ude00"', r'"\a\b\f\r\v\?"', r'"\q"', '"a\nb"',
        '"a\\\nb"', '"a\rb"', '"\u00e9"', "a", "1", '"a', "'a\"", '"a"b', '"it\'s"', '"#"', r'"\x00"', r'"\x414"',
        'u"a"',
        '["a"]', '<>', '"a";', '"a" , ',
    ],
}  # fmt: skip
WHOLE = [
    "layer { }", "layer: { }", "layer < >", "layer: < >", "layer { >", "layer [ { }, < > ]", "layer: [ { } ]",
    "layer []",
    "layer [ { } { } ]", "layer", "layer:", "layer { } ;", "layer { } , ; ", "layer { }; layer { },", "layer { } }",
    "state { stage: 'a', stage: 'b'; }", "state: [ { } ]", "[caffe.x] { }", "[type.googleapis.com/caffe.X] { }",
    "name 'a'", "name = 'a'", "NAME: 'a'", "input_dim [1]", "name: 'a' name: 'b'", "state { } state { }", "nothing: 1",
    "1: 2", "# only a comment", "", "#a\r\nname: 'a'", "name: 'a' // b", "name\t:\v'a'\f",
    "name: 'a'\0",
    "name: 'a';;", "; name: 'a'", ", name: 'a'", "layer { name: 'a' type: 'b' }\rlayer { }",
]  # fmt: skip
FORMS = [f"{field}: {value} {'} ' * field.count('{')}" for field, values in VALUES.items() for value in values] + WHOLE


def by_protoc(text: str) -> bytes | None:
    """What protobuf's own parser makes of a net's text; None where it refuses."""
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        "-Iprotos",
        "--encode=caffe.NetParameter",
        "protos/caffe.proto",
    ]
    done = subprocess.run(command, cwd=ROOT, input=text.encode(), capture_output=True)
    return done.stdout if done.returncode == 0 else None


def ours(text: str) -> bytes | None:
    try:
        return parse_text(text, NetParameter).SerializePartialToString(deterministic=True)
    except ParseError:
        return None


@pytest.fixture(scope="module")
def judged() -> dict[str, bytes | None]:
    """Each form, and what protoc makes of it. Forms that it takes go to it as one text a field, which is quick."""
    pytest.importorskip("grpc_tools", reason="protobuf's own parser comes with grpcio-tools")
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(FORMS, pool.map(by_protoc, FORMS), strict=True))


@pytest.mark.slow
def test_every_form_is_taken_or_refused_as_protobuf_does(judged: dict[str, bytes | None]) -> None:
    def decoded(content: bytes | None) -> bytes | None:
        return (
            None if content is None else NetParameter.FromString(content).SerializePartialToString(deterministic=True)
        )

    different = {text: (found, ours(text)) for text, found in judged.items() if decoded(found) != ours(text)}
    assert different == {}


# protoc's answers to the forms that reports named, so that they are tested where it is not installed
REFUSED = [
    *(f"layer {{ loss_weight: {value} }}" for value in ("010", "010.5", "09", "08.5", "00.5", "00", "+1", "1a")),
    "input: 1", "layer { convolution_param { num_output: -0 } }", "layer { convolution_param { pad: -0 } }",
    "layer { phase: 7 }", "layer { phase: -1 }", "layer { pooling_param { pool: 3 } }",
    "layer { pooling_param { pool: 99 } }", "force_backward: 2",
    "force_backward: 1.0", "force_backward: -0", "input_dim: 09", "input_dim: 1f", "name: '\\ud83'",
]  # fmt: skip
TAKEN = {
    "force_backward: 01": b"(\x01", "force_backward: 00": b"(\x00", "force_backward: 0x1": b"(\x01",
    "input_dim: -0": b" \x00", "input_dim: 010": b" \x08", "layer { phase: 01 }": b"\xa2\x06\x02P\x01",
    "layer { loss_weight: - 1 }": b"\xa2\x06\x05-\x00\x00\x80\xbf",
    "layer { loss_weight: 3.4028235677973366e38 }": b"\xa2\x06\x05-\xff\xff\x7f\x7f",
    "layer { loss_weight: -3.4028235677973366e38 }": b"\xa2\x06\x05-\xff\xff\x7f\xff",
    "layer { loss_weight: 3.402823567797337e38 }": b"\xa2\x06\x05-\x00\x00\x80\x7f",
    r'name: "\ud83d\ude00"': b"\x0a\x04\xf0\x9f\x98\x80",
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_what_protobuf_refuses_is_refused(text: str) -> None:
    assert ours(text) is None


@pytest.mark.parametrize("text", TAKEN)
def test_what_protobuf_takes_is_taken_with_its_value(text: str) -> None:
    assert ours(text) == TAKEN[text]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("layer { // c\n}", "a comment starts with #"),
        ("layer { /* c */ }", "a comment starts with #"),
        ("name: “a”", "strings stand in straight quotes"),
        ("name = 'a'", "a value stands behind ':'"),
        ("name\uff1a 'a'", "write ':'"),
        ("name:\xa0'a'", "it is a no-break space"),
        ("\u200bname: 'a'", "it is invisible: remove it"),
        (r"name: 'D:\data'", r"unknown escape \\d; write \\\\ for a backslash, in paths /"),
        ("layer { blobs_lr: 1 }", r"it is of the old 'layers': write param { lr_mult: ... } instead"),
        ("layer { weight_decay: 1 }", r"write param { decay_mult: ... } instead"),
        ("\nlayer { python_param {\nlayer { }", "if a layer begins here, a '}' is missing before it"),
        ("\nlayer { pooling_param {\nlayer { }", "the '{' of line 2 is not closed"),
        ("layer {\nlayer { }", "layer has no field 'layer'; the '{' of line 1 is not closed"),
        ("layer { convolution_param { pad: -1 } }", "pad wants a whole number from 0 to 4294967295, found minus '1'"),
    ],
)
def test_a_usual_slip_gets_the_way_out(text: str, said: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_text(text, NetParameter)
    assert said.replace("\\\\", "\\") in str(caught.value)
