"""Prototxt in every form that protobuf's text language has, and the sentence that each mistake gets."""

import math
import re

import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_compat.errors import ParseError
from caffe_compat.proto import schema
from caffe_compat.proto.text import format_text, parse_text, read_text
from tests.conftest import golden

NETS = [path for path in sorted(golden().rglob("*.prototxt")) if "upgrade_must_fail" not in path.parts]


def message_class_of(path):
    text = path.read_text()
    return schema.SolverParameter if "base_lr" in text else schema.NetParameter


@pytest.mark.parametrize("path", NETS, ids=lambda path: str(path.relative_to(golden())))
def test_golden_file_reads_as_google_reads_it_and_survives_writing(path):
    kind = message_class_of(path)
    message = read_text(path, kind)
    assert message == text_format.Parse(path.read_text(), kind())
    assert parse_text(format_text(message), kind) == message


FORMS = """
    name : 'single' "double" # a comment; with { signs
      'third';
    input: [ "a", 'b' ], input: "c"
    input_dim: 0x10 input_dim: 010, input_dim: -3; input_dim: [ ]
    force_backward: t
    state < phase: 1 stage: "s" >
    input_shape: { dim: [1, 2] };
    input_shape [ { dim: 3 }, < dim: 4 > ]
    layer { loss_weight: [1., .5, 2f, 1e-3, -inf, infinity, nan, 7]
            name: "\\x41\\102\\u00e9\\n\\'" propagate_down: [1, false] }
"""


def test_all_forms_of_the_text_language_are_read():
    net = parse_text(FORMS, schema.NetParameter)
    assert net.name == "singledoublethird"
    assert list(net.input) == ["a", "b", "c"]
    assert list(net.input_dim) == [16, 8, -3]
    assert net.force_backward is True
    assert (net.state.phase, list(net.state.stage)) == (schema.TEST, ["s"])
    assert [list(shape.dim) for shape in net.input_shape] == [[1, 2], [3], [4]]
    layer = net.layer[0]
    assert layer.name == "AB\u00e9\n'"
    assert list(layer.propagate_down) == [True, False]
    weights = list(layer.loss_weight)
    assert weights[:3] == [1.0, 0.5, 2.0] and weights[4:6] == [-math.inf, math.inf] and weights[7] == 7
    assert math.isnan(weights[6])


MISTAKES = {
    'layer {\n    typ: "x" }': "a.prototxt:2:5: layer has no field 'typ'; did you mean 'type'?",
    "base_lr: 1": "1:1: net has no field 'base_lr'; it is a field of a solver: is this the right file?",
    "layer { kernel_size: 3 }": "1:9: layer has no field 'kernel_size'; it belongs inside convolution_param or pooling",
    "layer { type: Data }": "1:15: type wants a string in quotes, found 'Data'",
    'layers { type: "Convolution" }': '1:16: type cannot be "Convolution"; did you mean CONVOLUTION (without quotes)?',
    "layer { pooling_param { pool: MIN } }": "1:31: pool cannot be 'MIN'; allowed: MAX, AVE, STOCHASTIC",
    "layer { phase: 2 }": "1:16: phase cannot be '2'; allowed: TRAIN, TEST",
    "input_dim: 1.5": "1:12: input_dim wants a whole number from -2147483648 to 2147483647, found '1.5'",
    "layer { convolution_param { num_output: -1 } }": "wants a whole number from 0 to 4294967295, found minus '1'",
    "input_dim: 3000000000": "1:12: input_dim wants a whole number",
    "layer { loss_weight: high }": "1:22: loss_weight wants a number, found 'high'",
    "force_backward: 2": "1:17: force_backward wants true or false, found '2'",
    'name: "a"\nname: "b"': "2:1: net has 'name' twice; it may stand once",
    "state { } state { }": "1:11: net has 'state' twice; it may stand once",
    'layer {\n name: "a"\n': "3:1: expected a field of layer or the '}' that closes line 1, found the end of the file",
    "layer { > }": "1:9: expected a field of layer or the '}' that closes line 1, found '>'",
    "}": "1:1: expected a field of net, found '}'",
    'name "x"': "1:6: expected ':' after 'name', found \"x\"",
    "layer: 3": "1:8: expected '{' after 'layer', found '3'",
    "input_dim: [1, 2": "expected ',' or ']' in the list of 'input_dim', found the end of the file",
    'name: "x': '1:7: the string opened with " is not closed on its line',
    "name: 'x\n'": "1:7: the string opened with ' is not closed on its line",
    'name: "\\q"': "1:7: the string has an unknown escape \\q",
    'name: "\\xff"': "1:7: name is not UTF-8",
    "input_dim: 3x": "1:12: '3x' is not a number",
    "input_dim: 08": "1:12: input_dim wants a whole number",
    "layer { \x01": "1:9: unexpected character '\\x01'",
    "layer { clip_param { min: 1 } }": "1:20: clip_param lacks 'max', which it must have",
    "[some.extension] { }": "1:1: expected a field of net, found '['",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistake_is_named_with_its_place_and_the_way_out(text):
    with pytest.raises(ParseError) as caught:
        parse_text(text, schema.NetParameter, "a.prototxt")
    assert str(caught.value).startswith("a.prototxt:") and MISTAKES[text] in str(caught.value)


def test_missing_file_is_a_parse_error_with_its_path(tmp_path):
    with pytest.raises(ParseError, match=r"nothing\.prototxt: cannot be read: No such file"):
        read_text(tmp_path / "nothing.prototxt", schema.NetParameter)


def test_comment_may_be_in_any_encoding(tmp_path):
    path = tmp_path / "latin.prototxt"
    path.write_bytes('# caf\u00e9\nname: "n"'.encode("latin-1"))
    assert read_text(path, schema.NetParameter).name == "n"


def test_floats_are_written_shortest_and_read_back_equal():
    text = "base_lr: 0.1\nmomentum: 1e-05\nweight_decay: 0.0005\ngamma: 16777216\npower: 3.4028235e+38\ndelta: nan\n"
    solver = parse_text(text, schema.SolverParameter)
    written = format_text(solver)
    assert all(line in written.splitlines() for line in ("base_lr: 0.1", "momentum: 1e-05", "weight_decay: 0.0005"))
    assert "gamma: 16777216\n" in written and "delta: nan\n" in written
    assert parse_text(written, schema.SolverParameter).power == solver.power


def test_strings_with_quotes_control_signs_and_other_scripts_survive():
    net = schema.NetParameter(name='a"b\\c\n\t\x07\u00e9\u4e2d')
    assert parse_text(format_text(net), schema.NetParameter) == net
    datum = schema.Datum(data=bytes(range(256)))
    assert parse_text(format_text(datum), schema.Datum) == datum


WORDS = st.sampled_from(
    ["layer", "name", "input_dim", "state", "stage", "{", "}", "<", ">", "[", "]", ":", ",", ";", "-", '"a"', "'", "1",
     "0x1F", "1e9", "nan", "true", "TEST", "phase", "#", "\n", "\\", "\x00", "\ud800", "9" * 400, "1" * 5000, '"\\777"']
)  # fmt: skip


@settings(max_examples=300, deadline=2000)
@given(st.lists(WORDS | st.text(max_size=4), max_size=40))
def test_any_text_is_read_or_refused_with_its_place(words):
    try:
        net = parse_text(" ".join(words), schema.NetParameter, "fuzz")
    except ParseError as error:
        assert re.match(r"fuzz:\d+:\d+: \S", str(error))
    else:
        assert parse_text(format_text(net), schema.NetParameter) == net


def test_ten_thousand_layers_are_read(tmp_path):
    text = "".join(f'layer {{ name: "l{i}" type: "ReLU" bottom: "b{i}" top: "b{i + 1}" }}\n' for i in range(10_000))
    assert len(parse_text(text, schema.NetParameter).layer) == 10_000
