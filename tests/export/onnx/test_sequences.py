"""Sequences in ONNX: recurrent layers of forks, reversal, transposition, greedy decoding."""

import itertools

import numpy as np
import pytest

import caffe_compat as cc
from tests.export.cases import largest_error, one_layer

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

LSTM = 'layer { name: "l" type: "Lstm" bottom: "a" %s top: "y" lstm_param { num_output: 3 %s } }'


def test_an_lstm_of_junhyukoh_is_onnxs_own(tmp_path):
    model = one_layer(LSTM % ("", ""), (5, 2, 4))
    assert largest_error(model, tmp_path) <= 1e-6
    assert "LSTM" in {node.op_type for node in cc.to_onnx(model).graph.node}


def test_its_rows_may_be_steps_times_streams(tmp_path):
    assert largest_error(one_layer(LSTM % ("", "batch_size: 2"), (10, 4)), tmp_path) <= 1e-6


def test_with_markers_it_starts_anew_wherever_they_are_0(tmp_path):
    model = one_layer(LSTM % ('bottom: "b"', ""), (5, 2, 4), (5, 2))
    x = np.random.RandomState(0).standard_normal((5, 2, 4)).astype(np.float32)
    cont = np.array([[0, 0], [1, 1], [0, 2], [1, 0], [1, 1]], np.float32)
    assert largest_error(model, tmp_path, {"a": x, "b": cont}) <= 1e-6
    anew = one_layer(LSTM % ("", ""), (3, 2, 4))
    rows = cc.Net(cc.Model(anew.net, model.weights))(a=x[2:])["y"][:, 0]
    np.testing.assert_allclose(cc.Net(model)(a=x, b=cont)["y"][2:, 0].detach(), rows.detach(), rtol=1e-5)


MOVED = {
    "reverse": ('type: "Reverse" bottom: "a" top: "y" reverse_param { axis: 0 }', (5, 2, 3)),
    "reverse_items": ('type: "Reverse" bottom: "a" top: "y" reverse_param { axis: 1 }', (5, 2, 3)),
    "transpose": ('type: "Transpose" bottom: "a" top: "y" transpose_param { dim: 2 dim: 0 dim: 1 }', (2, 3, 4)),
}


@pytest.mark.parametrize("name", MOVED)
def test_values_only_change_their_places(name, tmp_path):
    layer, shape = MOVED[name]
    assert largest_error(one_layer(f'layer {{ name: "l" {layer} }}', shape), tmp_path) == 0


@pytest.mark.parametrize("copies", ["", "reverse_time_param { copy_remaining: true }"])
def test_every_sequence_is_reversed_up_to_its_own_length(copies, tmp_path):
    layer = f'layer {{ name: "l" type: "ReverseTime" bottom: "a" bottom: "b" top: "y" {copies} }}'
    model = one_layer(layer, (4, 3, 2), (3,))
    inputs = {"a": np.arange(1, 25, dtype=np.float32).reshape(4, 3, 2), "b": np.array([4, 2, 1], np.float32)}
    assert largest_error(model, tmp_path, inputs) == 0


DECODER = 'layer { name: "l" type: "CTCGreedyDecoder" bottom: "a" top: "y" ctc_decoder_param { %s } }'


def collapsed(row, blank, merges):
    """Greedy decoding as Graves et al. 2006 say it: repetitions once, then no blanks."""
    labels = [label for label, _ in itertools.groupby(row)] if merges else list(row)
    return [label for label in labels if label != blank]


@pytest.mark.parametrize(
    ("settings", "blank", "merges"),
    [("blank_index: 0 ctc_merge_repeated: true", 0, True), ("blank_index: -1 ctc_merge_repeated: true", 3, True),
     ("blank_index: 2 ctc_merge_repeated: false", 2, False)],
)  # fmt: skip
def test_greedy_decoding_gives_the_labels_that_are_left_then_minus_one(settings, blank, merges, tmp_path):
    model = one_layer(DECODER % settings, (9, 5, 4))
    best = np.random.RandomState(0).randint(0, 4, (9, 5))
    best[:, 0] = blank
    scores = np.eye(4, dtype=np.float32)[best]
    assert largest_error(model, tmp_path, {"a": scores}) == 0
    found = cc.Net(model)(a=scores)["y"].reshape(5, 9).tolist()
    for row, labels in zip(best.T.tolist(), found, strict=True):
        wanted = collapsed(row, blank, merges)
        assert labels == wanted + [-1] * (9 - len(wanted))


def test_decoding_that_compares_with_labels_is_refused():
    layer = 'layer { name: "l" type: "CTCGreedyDecoder" bottom: "a" bottom: "b" top: "y" }'
    with pytest.raises(cc.UnsupportedLayerError, match="only with one bottom it decodes alone"):
        cc.to_onnx(one_layer(layer, (3, 2, 4), (2, 5)))


def test_an_lstm_unit_takes_a_step(tmp_path):
    layer = 'layer { name: "l" type: "LSTMUnit" bottom: "a" bottom: "b" bottom: "c" top: "cell" top: "hidden" }'
    assert largest_error(one_layer(layer, (1, 2, 3), (1, 2, 12), (1, 2)), tmp_path) <= 1e-6
