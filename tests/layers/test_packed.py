"""Which layers packed modules stand for; what they compute is in tests/net/test_prepared.py."""

import pytest

from caffe_compat.layers.packed import can_be_packed
from tests.layers.single import build


@pytest.mark.parametrize(
    ("text", "shape", "packs"),
    [
        ('type: "Convolution" convolution_param { num_output: 2 kernel_size: 1 }', (1, 2, 3, 3), True),
        ('type: "Convolution" convolution_param { num_output: 2 kernel_size: 1 }', (1, 2, 3, 3, 3), False),
        ('type: "Convolution" convolution_param { num_output: 2 kernel_size: 1 axis: 2 }', (1, 2, 3, 3, 3), False),
        ('type: "InnerProduct" inner_product_param { num_output: 2 }', (1, 2, 3, 3), True),
        ('type: "InnerProduct" inner_product_param { num_output: 2 axis: 2 }', (1, 2, 3, 3), False),
        ('type: "Deconvolution" convolution_param { num_output: 2 kernel_size: 1 }', (1, 2, 3, 3), False),
    ],
)
def test_banks_over_the_channels_of_images_are_packed(text, shape, packs):
    assert can_be_packed(build(text, shape)) == packs
