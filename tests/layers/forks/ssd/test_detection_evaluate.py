"""DetectionEvaluate of SSD on boxes placed by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from caffe_compat.errors import DataError, ShapeError, UnsupportedParameterError
from tests.layers.single import build

FOUND = torch.tensor(
    [
        [0, 1, 0.9, 0.1, 0.1, 0.5, 0.5],  # the box itself
        [0, 1, 0.8, 0.12, 0.1, 0.5, 0.5],  # the same again
        [0, 1, 0.95, 0.6, 0.6, 0.7, 0.7],  # nothing there
        [0, 2, 0.7, 0.2, 0.2, 0.9, 0.9],  # no true box of this class
        [1, 1, 0.6, 0.0, 0.0, 0.4, 0.4],  # difficult
        [2, -1, -1, -1, -1, -1, -1],  # an item without detections
    ]
).view(1, 1, 6, 7)
TRUTH = torch.tensor(
    [[0, 1, 0, 0.1, 0.1, 0.5, 0.5, 0], [1, 1, 0, 0.0, 0.0, 0.4, 0.4, 1], [-1, 0, 0, 0, 0, 0, 0, 0]]
).view(1, 1, 3, 8)
SHAPES = ((1, 1, 6, 7), (1, 1, 3, 8))


def _rows(fields: str, folder: Path | None = None) -> list[list[float]]:
    text = f'type: "DetectionEvaluate" detection_evaluate_param {{ num_classes: 3 {fields} }}'
    top = build(text, *SHAPES, folder=folder)(FOUND, TRUTH)
    assert top.shape[:2] == (1, 1)
    rows: list[list[float]] = [[round(value, 4) for value in row] for row in top[0, 0].tolist()]
    return rows


def test_each_true_box_is_found_once_and_the_rest_is_false() -> None:
    assert _rows("") == [
        [-1, 1, 2, -1, -1],
        [-1, 2, 0, -1, -1],
        [0, 1, 0.95, 0, 1],
        [0, 1, 0.9, 1, 0],
        [0, 1, 0.8, 0, 1],
        [0, 2, 0.7, 0, 1],
        [1, 1, 0.6, 1, 0],
    ]


def test_difficult_boxes_count_neither_way_where_asked() -> None:
    rows = _rows("evaluate_difficult_gt: false")
    assert rows[0] == [-1, 1, 1, -1, -1]
    assert rows[-1] == [1, 1, 0.6, 0, 0]


def test_overlaps_of_pixels_count_both_ends(tmp_path: Path) -> None:
    (tmp_path / "sizes.txt").write_text("a 10 10\nb 10 10\nc 10 10\n")
    # 0.12 to 0.5 of 10 pixels by 0.1 to 0.5: (3.8 + 1) * 5 of 25 pixels, which is 0.96
    wanted = {0.95: [0, 1, 0.8, 1, 0], 0.97: [0, 1, 0.8, 0, 1]}
    for threshold, row in wanted.items():
        text = f'type: "DetectionEvaluate" detection_evaluate_param {{ num_classes: 3 overlap_threshold: {threshold}'
        layer = build(f'{text} name_size_file: "sizes.txt" }}', *SHAPES, folder=tmp_path)
        top = layer(FOUND[:, :, 1:2], TRUTH)
        assert [round(value, 4) for value in top[0, 0, -1].tolist()] == row


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedParameterError, match=r"layer 'lay': .*needs num_classes"):
        build('type: "DetectionEvaluate"', *SHAPES)
    with pytest.raises(ShapeError, match=r"layer 'lay': .*wanted"):
        build('type: "DetectionEvaluate" detection_evaluate_param { num_classes: 3 }', SHAPES[1], SHAPES[0])
    (tmp_path / "sizes.txt").write_text("a 10\n")
    with pytest.raises(DataError, match=r"layer 'lay': .*must have lines 'name height width'"):
        _rows('name_size_file: "sizes.txt"', tmp_path)
