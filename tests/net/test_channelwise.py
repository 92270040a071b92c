"""What Caffe's own channelwise layers do to each channel."""

import numpy as np
import pytest
import torch

from caffe_compat.net.channelwise import caffes_affine
from tests.layers.single import build


def test_scale_and_batch_norm_are_their_equations():
    scale = build('type: "Scale" scale_param { bias_term: true }', (2, 3, 4, 4))
    norm = build('type: "BatchNorm" batch_norm_param { eps: 0.5 }', (2, 3, 4, 4))
    with torch.no_grad():
        for blob, values in zip(
            [*scale.blobs, *norm.blobs], [[2, 3, 4], [5, 6, 7], [2, 4, 6], [7, 15, 31], [2]], strict=True
        ):
            blob.copy_(torch.tensor(values))
    found = caffes_affine(scale, [(2, 3, 4, 4)])
    np.testing.assert_allclose(found.scale, [2, 3, 4])
    np.testing.assert_allclose(found.shift, [5, 6, 7])
    found = caffes_affine(norm, [(2, 3, 4, 4)])
    np.testing.assert_allclose(found.scale, [1 / 2, 1 / np.sqrt(8), 1 / 4], rtol=1e-12)
    np.testing.assert_allclose(found.shift, [-1 / 2, -2 / np.sqrt(8), -3 / 4], rtol=1e-12)
    assert scale.blobs[0].dtype == torch.float32


@pytest.mark.parametrize(
    "text",
    [
        'type: "Scale" scale_param { axis: 2 num_axes: 1 }',
        'type: "Power" power_param { power: 2 }',
        'type: "BatchNorm" batch_norm_param { use_global_stats: false }',
        'type: "ReLU"',
    ],
)
def test_others_do_more(text):
    assert caffes_affine(build(text, (2, 3, 4, 4)), [(2, 3, 4, 4)]) is None


def test_a_variance_below_0_is_not_folded():
    norm = build('type: "BatchNorm"', (2, 3, 4, 4))
    with torch.no_grad():
        norm.blobs[1].fill_(-1)
        norm.blobs[2].fill_(1)
    assert caffes_affine(norm, [(2, 3, 4, 4)]) is None
