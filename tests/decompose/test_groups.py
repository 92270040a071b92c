"""Grouped Convolutions taken apart and put together: case files, equal outputs, and unequal ranks in the parts."""

import numpy as np
import pytest

from caffe_compat.decompose.groups import merge_groups, regroup_weights, split_groups
from caffe_compat.decompose.rewrite import decompose
from caffe_compat.errors import RankError, WeightsError
from caffe_compat.net.net import Net
from caffe_compat.proto.model import Model
from caffe_compat.proto.schema import NetParameter
from caffe_compat.proto.text import format_text, parse_text
from tests.decompose.cases import read_case

CASES = ["groups/sliced", "groups/whole_bottom"]


def without_group_of_one(net):
    copy = type(net)()
    copy.CopyFrom(net)
    for layer in copy.layer:
        if layer.convolution_param.group == 1:
            layer.convolution_param.ClearField("group")
    return format_text(copy)


@pytest.mark.parametrize("name", CASES)
def test_given_becomes_result_and_the_same_again(name):
    case = read_case(name)
    split = split_groups(case.given, case.settings.get("parts"))
    assert format_text(split.net) == format_text(case.result)
    made = {layer: [list(blob.shape) for blob in blobs] for layer, blobs in split.weights.items()}
    assert made == case.settings["made"]
    back = merge_groups(split)
    assert without_group_of_one(back.net) == without_group_of_one(case.given.net)
    for layer, blobs in case.given.weights.items():
        for blob, again in zip(blobs, back.weights[layer], strict=True):
            np.testing.assert_array_equal(blob, again)


@pytest.mark.parametrize("name", CASES)
def test_split_parts_compute_the_same(name):
    case = read_case(name)
    split = split_groups(case.given, case.settings.get("parts"))
    data = np.random.default_rng(0).standard_normal((2, 4, 6, 5)).astype(np.float32)
    (top,) = Net(case.given).output_names
    wanted = Net(case.given)(data=data)[top].detach().numpy()
    found = Net(split)(data=data)[top].detach().numpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())


def test_parts_take_ranks_of_their_own():
    split = split_groups(read_case("groups/sliced").given)
    small = decompose(split, {"conv2_group0": 1, "conv2_group1": 2})
    assert small.weights["conv2_group0_lowrank"][0].shape == (1, 2, 3, 3)
    assert small.weights["conv2_group1_linear"][0].shape == (3, 2, 1, 1)


@pytest.mark.parametrize(
    "parts, said",
    [
        ({"conv2": 3}, "layer 'conv2' has 6 filters in 2 groups; it cannot be split into 3 parts"),
        ({"conv2": 1}, "cannot be split into 1 parts"),
        ({"relu": 2}, "layer 'relu' is not a Convolution"),
        ({"conv3": 2}, "did you mean 'conv2'?"),
    ],
)
def test_what_cannot_be_split_is_said(parts, said):
    with pytest.raises(RankError) as caught:
        split_groups(read_case("groups/sliced").given, parts)
    assert said in str(caught.value)


def test_a_layer_with_shared_weights_is_not_split():
    case = read_case("groups/sliced")
    case.given.net.layer[1].param[0].name = "w"
    with pytest.raises(RankError, match="layer 'conv2' shares 'w'"):
        split_groups(case.given)


def test_parts_that_stand_otherwise_are_left():
    case = read_case("groups/sliced")
    split = split_groups(case.given)
    split.net.layer[2].convolution_param.pad[0] = 0
    assert format_text(merge_groups(split).net) == format_text(split.net)
    reversed_parts = split_groups(case.given)
    concat = reversed_parts.net.layer[4]
    concat.bottom[0], concat.bottom[1] = concat.bottom[1], concat.bottom[0]
    assert format_text(merge_groups(reversed_parts).net) == format_text(reversed_parts.net)


def test_weights_alone_follow_a_net_written_by_hand():
    case = read_case("groups/sliced")
    found = regroup_weights(case.given.weights, case.result)
    np.testing.assert_array_equal(found["conv2_group1"][0], case.given.weights["conv2"][0][3:])
    np.testing.assert_array_equal(regroup_weights(found, case.given.net)["conv2"][1], case.given.weights["conv2"][1])
    with pytest.raises(WeightsError, match="blobs of 'conv2' cannot be cut into 2 equal parts"):
        regroup_weights({"conv2": (np.ones((5, 1)),)}, case.result)
    assert regroup_weights({"other": (np.ones(2),)}, case.result) == {}
    assert Model(case.result, found).weights.keys() == {"conv2_group0", "conv2_group1"}


@pytest.mark.parametrize(
    "slices, merges",
    [
        ("slice_param { axis: 1 slice_point: 2 }", True),
        ("slice_param { slice_dim: 1 }", True),
        ("slice_param { axis: 1 slice_point: 1 }", False),
        ("slice_param { axis: 2 }", False),
    ],
)
def test_only_parts_of_an_even_slice_of_channels_become_groups(slices, merges):
    text = format_text(split_groups(read_case("groups/sliced").given).net)
    start, end = text.index("  slice_param"), text.index("}", text.index("slice_param")) + 1
    net = parse_text(text[:start] + slices + text[end:], NetParameter)
    merged = merge_groups(Model(net, split_groups(read_case("groups/sliced").given).weights))
    assert ("conv2" in merged.weights) is merges
