"""PSROIPooling against plain loops."""

from __future__ import annotations

import numpy as np
import torch

from tests.layers.single import build
from tests.reference.regions import ROIS, SCALE, psroi_pooling


def test_psroi_pooling_takes_the_mean_of_each_bin_from_its_own_channel() -> None:
    text = 'type: "PSROIPooling" psroi_pooling_param { output_dim: 2 group_size: 3 spatial_scale: 0.25 }'
    layer = build(text, (2, 18, 7, 10), (6, 5))
    x = torch.randn(2, 18, 7, 10, dtype=torch.float64, requires_grad=True)
    y = layer(x, ROIS)
    assert y.shape == layer.top_shapes([(2, 18, 7, 10), (6, 5)])[0]
    np.testing.assert_allclose(
        y.detach().numpy(), psroi_pooling(x.detach().numpy(), ROIS.numpy(), 2, 3, SCALE), atol=1e-12
    )
    assert torch.autograd.gradcheck(lambda bottom: layer(bottom, ROIS), x, fast_mode=True)
