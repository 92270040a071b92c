"""Fillers against samples of a real Caffe build (golden/fillers) and the laws of their distributions."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from caffe_compat.errors import UnsupportedParameterError
from caffe_compat.layers.fillers import fill
from caffe_compat.proto.schema import FillerParameter
from caffe_compat.proto.text import parse_text
from tests.conftest import golden
from tests.layers.single import build

ROWS = [row for row in json.loads(golden("fillers", "fillers.json").read_text()) if row["filler"] != "bilinear"]


def _filler(text: str) -> Any:
    return parse_text(text, FillerParameter)


@pytest.mark.parametrize(
    "row", ROWS, ids=lambda row: f"{row['filler']} {row['params']} {row['kind']}".replace(": ", "=")
)
def test_mean_deviation_and_range_are_those_of_a_caffe_sample(row: dict[str, Any]) -> None:
    torch.manual_seed(1)
    blob = fill(torch.empty(row["blob_shape"]), _filler(f'type: "{row["filler"]}" {row["params"]}')).double()
    std, count = row["std"], row["count"]
    # two samples: the README's bounds of five standard errors
    assert abs(blob.mean() - row["mean"]) <= 5 * std * math.sqrt(2 / count) + 1e-8
    if row["zero_fraction"] > 0:
        nonzero = max(1, count * (1 - row["zero_fraction"]))
        zeros = 1 - blob.count_nonzero() / count
        assert abs(zeros - row["zero_fraction"]) <= 5 * math.sqrt(2 * nonzero) / count
        assert abs(blob.std() - std) <= 5 * std / math.sqrt(nonzero)
    elif std > 1e-6:
        assert abs(blob.std() / std - 1) <= 5 / math.sqrt(count)
        for percent, value in row["quantiles"].items():
            assert abs((blob <= value).double().mean() - int(percent) / 100) <= 5 * 0.5 * math.sqrt(2 / count)
    if row["filler"] in ("uniform", "xavier", "constant"):
        slack = 1e-3 * (row["max"] - row["min"]) + 1e-7
        assert row["min"] - slack <= blob.min()
        assert blob.max() <= row["max"] + slack


def test_xavier_and_msra_take_the_fan_that_variance_norm_names() -> None:
    shape, fans = (8, 4, 3, 5), {"FAN_IN": 60, "FAN_OUT": 120, "AVERAGE": 90}
    for norm, fan in fans.items():
        blob = fill(torch.empty(shape), _filler(f'type: "xavier" variance_norm: {norm}'))
        assert 0.95 * math.sqrt(3 / fan) < blob.abs().max() <= math.sqrt(3 / fan) * (1 + 1e-6)


def test_rows_of_the_positive_unitball_sum_to_one() -> None:
    blob = fill(torch.empty(7, 3, 4), _filler('type: "positive_unitball"'))
    assert blob.min() >= 0
    torch.testing.assert_close(blob.sum((1, 2)), torch.ones(7))


@pytest.mark.parametrize("name", ["conv_3x2x4x4", "deconv_2x1x5x5"])
@pytest.mark.parametrize("compat", ["bvlc", "wen2017"])
def test_bilinear_kernels_of_four_and_five_are_caffes_in_both_versions(name: str, compat: str) -> None:
    with np.load(golden("fillers", "bilinear.npz")) as archive:
        expected = torch.from_numpy(archive[name])
    torch.testing.assert_close(fill(torch.empty(expected.shape), _filler('type: "bilinear"'), compat), expected)


@pytest.mark.parametrize(
    ("width", "bvlc", "wen2017"),
    [
        (2, [0.5, 0.5], [1.0, 0.0]),  # f = 1: centre 0.5, and (2 - 1 - 1) / 2 = 0
        (3, [0.5, 1.0, 0.5], [0.25, 0.75, 0.75]),  # f = 2: centre 0.5, and (4 - 1 - 0) / 4 = 0.75
    ],
)
def test_bilinear_kernels_of_two_and_three_depend_on_the_version(
    width: int, bvlc: list[float], wen2017: list[float]
) -> None:
    for compat, taps in (("bvlc", bvlc), ("wen2017", wen2017)):
        blob = fill(torch.empty(1, 1, width, width), _filler('type: "bilinear"'), compat)
        torch.testing.assert_close(blob[0, 0], torch.outer(torch.tensor(taps), torch.tensor(taps)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('type: "xaiver"', "filler type 'xaiver' is not known; did you mean 'xavier'\\? known: bilinear, constant"),
        ('type: "gaussian" std: 0', "gaussian filler has std 0; give a positive one, or type 'constant'"),
        ('type: "gaussian" sparse: 5', "gaussian filler has sparse 5; give 0 to 4, the blob's first axis"),
        ('type: "xavier" sparse: 1', "xavier filler cannot be sparse"),
        ('type: "uniform" min: 2 max: 1', "uniform filler has min 2 above max 1"),
        ('type: "bilinear"', r"bilinear filler needs a blob of 4 axes with a square kernel, not \(4, 6\)"),
    ],
)
def test_bad_fillers_are_named_with_their_layer_and_blob(text: str, message: str) -> None:
    with pytest.raises(UnsupportedParameterError, match=f"layer 'lay': blob 0: {message}"):
        build(f'type: "InnerProduct" inner_product_param {{ num_output: 4 weight_filler {{ {text} }} }}', (2, 6))


def test_the_net_s_version_reaches_the_filler() -> None:
    fields = 'num_output: 1 kernel_size: 3 bias_term: false weight_filler { type: "bilinear" }'
    blobs = [
        build(f'type: "Deconvolution" convolution_param {{ {fields} }}', (1, 1, 4, 4), compat=compat).blobs[0]
        for compat in ("bvlc", "wen2017")
    ]
    assert not torch.equal(*blobs)


@pytest.mark.parametrize(
    ("kind", "bounds"),
    [
        ("uniform", "min: -inf max: 1"), ("uniform", "min: nan"), ("uniform", "max: 1e39"), ("gaussian", "std: nan"),
        ("uniform", "min: -3e38 max: 3e38"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("device", ["cpu", "meta"])  # meta: as `check` builds a net
def test_bounds_that_are_no_numbers_are_refused_in_one_line(kind: str, bounds: str, device: str) -> None:
    with pytest.raises(UnsupportedParameterError, match=r"filler") as caught:
        fill(torch.empty(3, 4, device=device), parse_text(f'type: "{kind}" {bounds}', FillerParameter))
    assert "\n" not in str(caught.value)
