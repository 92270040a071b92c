"""Intel's filters that rectify."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from tests.layers.single import build

SHAPE = (3, 2, 4, 5)


GAUSSIAN = "{ type: 'gaussian' std: 1 }"


@pytest.mark.parametrize("slope", [0, 0.25])
def test_intels_filters_rectify(slope: float) -> None:
    for kind, message, fields in (
        ("Convolution", "convolution_param", "num_output: 3 kernel_size: 2"),
        ("InnerProduct", "inner_product_param", "num_output: 3"),
    ):
        text = f'type: "{kind}" {message} {{ {fields} weight_filler {GAUSSIAN} '
        plain, fused = build(text + "}", SHAPE), build(text + f"relu: true negative_slope: {slope} }}", SHAPE)
        fused.load_state_dict(plain.state_dict())
        x = torch.randn(SHAPE)
        torch.testing.assert_close(fused(x), functional.leaky_relu(plain(x), slope))
