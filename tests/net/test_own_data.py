"""Batches of a net's own data layers."""

import numpy as np
import pytest

from caffe_compat.errors import DataError
from caffe_compat.net.own_data import own_batches
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import parse_text

NET = """
name: "n"
layer { name: "data" type: "DummyData" top: "data" top: "label" include { phase: TRAIN }
  dummy_data_param { shape { dim: 4 dim: 2 dim: 3 dim: 5 } shape { dim: 4 }
    data_filler { type: "gaussian" } data_filler { value: 2 } } }
layer { name: "data" type: "Input" top: "data" include { phase: TEST } input_param { shape { dim: 1 dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 1000000 } }
"""


def test_batches_are_what_the_data_layers_of_the_phase_give_in_turn():
    batches = own_batches(parse_text(NET, NetParameter), 3)
    assert [list(batch) for batch in batches] == [["data", "label"]] * 3
    assert all(batch["data"].shape == (4, 2, 3, 5) and (batch["label"] == 2).all() for batch in batches)
    assert not np.array_equal(batches[0]["data"], batches[1]["data"])


def test_a_phase_without_data_is_said():
    with pytest.raises(DataError, match="net 'n' has no data layer in phase TEST; name a net that has one"):
        own_batches(parse_text(NET, NetParameter), 1, "TEST")
    with pytest.raises(DataError, match="0 batches: must be 1 or more"):
        own_batches(parse_text(NET, NetParameter), 0)
