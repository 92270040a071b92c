"""ContinuationIndicator against the forks' loop over steps and items, alone and before an LSTM."""

from __future__ import annotations

import pytest
import torch

import caffe_compat as cc
from caffe_compat.errors import ShapeError, UnsupportedParameterError
from tests.layers.single import build

NET = """
layer { name: "input" type: "Input" top: "data" input_param { shape { dim: 5 dim: 3 dim: 4 } } }
layer { name: "indicator" type: "ContinuationIndicator" top: "indicator"
  continuation_indicator_param { time_step: 5 batch_size: 3 } }
layer { name: "lstm" type: "LSTM" bottom: "data" bottom: "indicator" top: "lstm"
  recurrent_param { num_output: 2 weight_filler { type: "xavier" } } }
"""


def test_the_first_step_is_0_and_the_others_go_on() -> None:
    layer = build('type: "ContinuationIndicator" continuation_indicator_param { time_step: 3 batch_size: 2 }')
    assert layer().tolist() == [[0.0 if step == 0 else 1.0 for _ in range(2)] for step in range(3)]
    assert layer.top_shapes([]) == [(3, 2)]
    assert layer.double()().dtype == torch.float64


def test_batch_size_is_1_by_default() -> None:
    layer = build('type: "ContinuationIndicator" continuation_indicator_param { time_step: 2 }')
    assert layer().tolist() == [[0], [1]]


def test_flag_and_a_bottom_near_1_let_the_first_step_go_on() -> None:
    text = 'type: "ContinuationIndicator" continuation_indicator_param { time_step: 2 batch_size: 3 '
    assert build(text + "flag: true }")().tolist() == [[1, 1, 1], [1, 1, 1]]
    goes_on = torch.tensor([[1.009], [0.0], [0.98]])
    assert build(text + "}", (3, 1))(goes_on).tolist() == [[1, 0, 0], [1, 1, 1]]


def test_an_lstm_behind_it_starts_every_sequence_anew(tmp_path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(NET, encoding="utf-8")
    net = cc.Net(cc.read_model(path), "TEST")
    x = torch.randn(5, 3, 4)
    first, again = net(data=x)["lstm"], net(data=x)["lstm"]
    assert torch.equal(first, again)
    assert net.blobs(data=x)["indicator"].tolist() == [[0] * 3] + [[1] * 3] * 4


def test_sizes_that_do_not_fit_are_told() -> None:
    with pytest.raises(UnsupportedParameterError, match="time_step and batch_size are 0 and 1; both must be positive"):
        build('type: "ContinuationIndicator"')
    with pytest.raises(ShapeError, match=r"\(4,\) has no value for each of batch_size 3 items"):
        build('type: "ContinuationIndicator" continuation_indicator_param { time_step: 1 batch_size: 3 }', (4,))
