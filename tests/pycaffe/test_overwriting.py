"""Layers in place, forward and backward, as real Caffe leaves blobs and diffs (tests/golden/inplace)."""

from __future__ import annotations

import numpy as np
import pytest

import caffe_compat.pycaffe as caffe
from tests.net.test_in_place import CASES, ROUNDING, TOLERANCE

NAMES = [name for name, (case, _) in CASES.items() if name not in ROUNDING and case["first"] != "Tile"][::3]


@pytest.mark.parametrize("name", NAMES)
def test_blobs_and_diffs_are_those_of_real_caffe(name, tmp_path):
    case, arrays = CASES[name]
    (tmp_path / "net.prototxt").write_text(case["prototxt"])
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TRAIN)
    for key, values in arrays.items():
        word, _, rest = key.partition("_")
        if word == "param":
            layer, _, index = rest.rpartition("_")
            net.params[layer][int(index)].data[...] = values
        elif word == "bottom":
            net.blobs[rest].data[...] = values
    net.forward()
    wanted = arrays["top_c"]
    assert np.abs(net.blobs["c"].data - wanted).max() < TOLERANCE * np.abs(wanted).max().clip(1e-6)
    if not case["backward"]:
        return
    net.blobs["c"].diff[...] = arrays["topdiff_c"]
    net.backward()
    statistics = {layer for layer, kind in zip(net._layer_names, (each.type for each in net.layers), strict=True)
                  if kind == "BatchNorm"}  # fmt: skip
    pairs = []
    for key, values in arrays.items():
        word, _, rest = key.partition("_")
        layer, _, index = rest.rpartition("_")
        if word == "bottomdiff":
            pairs.append((net.blobs[rest].diff, values))
        elif word == "paramdiff" and layer not in statistics:
            pairs.append((net.params[layer][int(index)].diff, values))
    largest = max(np.abs(values).max() for _, values in pairs)
    for found, values in pairs:
        assert np.abs(found - values).max() <= TOLERANCE * largest
