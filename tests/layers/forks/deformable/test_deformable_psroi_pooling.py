"""DeformablePSROIPooling against plain loops."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from caffe_compat.errors import UnsupportedParameterError
from tests.layers.single import build
from tests.reference.regions import between


@pytest.mark.parametrize("moved", [False, True])
def test_each_bin_is_the_mean_of_its_samples(moved: bool) -> None:
    torch.manual_seed(4)
    fields = "output_dim: 2 group_size: 2 sample_per_part: 3 part_size: 2 trans_std: 0.4 spatial_scale: 0.5"
    x = torch.randn(2, 8, 5, 6, dtype=torch.float64)
    rois = torch.tensor([[0, 0, 1, 9, 8], [1, 2.5, 3, 4, 3], [1, -9, 0, 3, 14], [0, 30, 30, 40, 40]]).double()
    trans = torch.randn(4, 4, 2, 2, dtype=torch.float64)
    bottoms = (x, rois, trans) if moved else (x, rois)
    fields += f" no_trans: {str(not moved).lower()}"
    text = f'type: "DeformablePSROIPooling" deformable_psroi_pooling_param {{ {fields} }}'
    found = build(text, *(tuple(b.shape) for b in bottoms))(*bottoms)
    assert found.shape == (4, 2, 2, 2)
    for r, o, i, j in itertools.product(range(4), range(2), range(2), range(2)):
        x1, y1, x2, y2 = (math.floor(abs(v) + 0.5) * math.copysign(1, v) for v in rois[r, 1:].tolist())
        left, top = x1 * 0.5 - 0.5, y1 * 0.5 - 0.5
        width, height = max((x2 + 1) * 0.5 - 0.5 - left, 0.1), max((y2 + 1) * 0.5 - 0.5 - top, 0.1)
        shift = trans[r, 2 * o : 2 * o + 2, i, j] * 0.4 if moved else torch.zeros(2)
        values = []
        for a, b in itertools.product(range(3), range(3)):
            z = left + (j + b / 3) * width / 2 + float(shift[0]) * width
            y = top + (i + a / 3) * height / 2 + float(shift[1]) * height
            if -0.5 <= y <= 4.5 and -0.5 <= z <= 5.5:
                values.append(between(x[int(rois[r, 0]), (o * 2 + i) * 2 + j], max(y, 0), max(z, 0)))
        mean = sum(values) / len(values) if values else 0.0
        assert float(found[r, o, i, j]) == pytest.approx(mean, abs=1e-6)  # the regions are rounded to float32


def test_three_bottoms_go_with_moves() -> None:
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay'.*for 2 bottoms; wanted"):
        build(
            'type: "DeformablePSROIPooling" deformable_psroi_pooling_param { output_dim: 1 group_size: 1 part_size: 1 '
            "spatial_scale: 1 }",
            (1, 1, 4, 4), (1, 5),
        )  # fmt: skip
