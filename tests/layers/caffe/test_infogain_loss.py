"""InfogainLoss against plain loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from caffe_compat.proto.binary import write_blob
from tests.layers.single import build
from tests.reference.losses import infogain_loss


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64).requires_grad_()


def test_infogain_loss_of_scores_is_that_of_the_loops() -> None:
    scores, matrix = _random(3, 4, 2), torch.rand(4, 4, dtype=torch.float64)
    label = torch.randint(0, 4, (3, 2)).float()
    label[1, 0] = 255
    text = 'type: "InfogainLoss" loss_param { ignore_label: 255 }'
    layer = build(text, (3, 4, 2), (3, 2), (1, 1, 4, 4))
    wanted = infogain_loss(scores.detach().numpy(), label.numpy(), matrix.numpy(), 1, 255)
    assert float(layer(scores, label, matrix).detach()) == pytest.approx(wanted, rel=1e-12)
    assert torch.autograd.gradcheck(lambda bottom: layer(bottom, label, matrix), scores)


def test_infogain_matrix_from_a_file_beside_the_net_and_probabilities_in_the_fork(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).random((3, 3)).astype(np.float32)
    write_blob(tmp_path / "H.binaryproto", matrix.reshape(1, 1, 3, 3))
    text = 'type: "InfogainLoss" infogain_loss_param { source: "H.binaryproto" }'
    probability = torch.rand(2, 3, dtype=torch.float64, requires_grad=True)
    label = torch.tensor([2.0, 0.0])
    layer = build(text, (2, 3), (2,), compat="wen2017", folder=tmp_path)
    logs = probability.detach().log().numpy()
    wanted = -(matrix[2] @ logs[0] + matrix[0] @ logs[1]) / 2
    assert float(layer(probability, label).detach()) == pytest.approx(wanted, rel=1e-6)
    assert torch.autograd.gradcheck(lambda bottom: layer(bottom, label), probability)
    scores = build(text, (2, 3), (2,), compat="bvlc", folder=tmp_path)(probability, label)
    assert float(scores.detach()) != pytest.approx(wanted, rel=1e-3)


def test_infogain_second_top_is_the_softmax() -> None:
    layer = build('type: "InfogainLoss"', (2, 3), (2,), (3, 3), tops=2)
    scores = torch.randn(2, 3)
    _, probability = layer(scores, torch.zeros(2), torch.eye(3))
    torch.testing.assert_close(probability, torch.softmax(scores, 1))


def test_infogain_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedParameterError, match="layer 'lay': the infogain matrix is missing"):
        build('type: "InfogainLoss"', (2, 3), (2,))
    with pytest.raises(ShapeError, match=r"layer 'lay': the infogain matrix has shape \(2, 2\), wanted 3 x 3"):
        build('type: "InfogainLoss"', (2, 3), (2,), (2, 2))
    with pytest.raises(DataError, match=r"layer 'lay': 'none\.binaryproto'"):
        build('type: "InfogainLoss" infogain_loss_param { source: "none.binaryproto" }', (2, 3), (2,), folder=tmp_path)


def test_infogain_loss_refuses_the_deprecated_normalize_as_caffe_does() -> None:
    with pytest.raises(UnsupportedParameterError, match=r"loss_param\.normalize is not for InfogainLoss"):
        build('type: "InfogainLoss" loss_param { normalize: true }', (2, 3), (2,), (3, 3))
