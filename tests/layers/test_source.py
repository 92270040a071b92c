"""What layers without bottoms have in common."""

import torch

from tests.layers.sources import layer_of


def test_forward_passes_tops_on_as_float():
    layer = layer_of('name: "i" type: "Input" top: "a" top: "b"')
    passed = layer(torch.arange(3), torch.ones(2, dtype=torch.float64))
    assert [top.dtype for top in passed] == [torch.float32] * 2
    assert [top.dtype for top in layer.double()(torch.arange(3), torch.ones(2))] == [torch.float64] * 2
