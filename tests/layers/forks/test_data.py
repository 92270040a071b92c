"""Data layers of forks: shapes from their prototxt, values from the user."""

from __future__ import annotations

import pytest
import torch

from caffe_compat.errors import DataError
from tests.layers.sources import layer_of

RESIZED = "transform_param { resize_param { height: 300 width: 200 } } data_param { batch_size: 4 }"
LEVELS = "downsample_rate: 8 downsample_rate: 16"


@pytest.mark.parametrize(
    ("text", "tops", "shapes"),
    [
        (f'type: "AnnotatedData" {RESIZED}', 2, [(4, 3, 300, 200), (1, 1, 4, 8)]),
        (f'type: "AnnotatedData" {RESIZED} annotated_data_param {{ yolo_data_type: 1 }}', 2,
         [(4, 3, 300, 200), (4, 1, 300, 5)]),
        (f'type: "LaneData" {RESIZED} annotated_data_param {{ seg_resize_height: 9 seg_resize_width: 8 }}', 3,
         [(4, 3, 300, 200), (4, 5, 64, 3), (4, 1, 9, 8)]),
        ('type: "DenseImageData" dense_image_data_param { batch_size: 2 new_height: 36 new_width: 48 }', 2,
         [(2, 3, 36, 48), (2, 1, 36, 48)]),
        ('type: "ImageSegData" image_data_param { batch_size: 2 } transform_param { crop_size: 47 }', 3,
         [(2, 3, 47, 47), (2, 1, 47, 47), (2, 1, 1, 2)]),
        ('type: "VideoData" video_data_param { source: "x" batch_size: 2 new_length: 5 num_segments: 3 modality: FLOW '
         "new_height: 9 new_width: 8 } transform_param { crop_size: 7 }", 2, [(2, 30, 7, 7), (2,)]),
        ('type: "VideoData" video_data_param { source: "x" batch_size: 2 modality: RGB new_height: 9 new_width: 8 }', 2,
         [(2, 3, 9, 8), (2,)]),
        ('type: "VideoData" data_param { batch_size: 1 } transform_param { resize_param { height: 9 width: 8 } }', 1,
         [(1, 3, 9, 8)]),
        (f'type: "ImageGtData" image_gt_data_param {{ batch_size: 2 crop_width: 448 crop_height: 440 {LEVELS} '
         "output_gt_boxes: true resize_width: 640 resize_height: 480 }", 4,
         [(2, 3, 440, 448), (2, 6, 55, 56), (2, 6, 27, 28), (1, 7, 1, 1)]),
        *((f'type: "{kind}" image_data_param {{ batch_size: 2 new_height: 9 new_width: 8 }}', 2, [(2, 3, 9, 8), (2,)])
          for kind in ("CustomData", "FrcnnRoiData", "FrcnnVidData", "MultiLabelImageData")),
        ('type: "HashingImageData" image_data_param { batch_size: 2 new_height: 9 new_width: 8 is_color: false }', 2,
         [(2, 1, 9, 8), (2,)]),
    ],
)  # fmt: skip
def test_shapes_follow_from_the_prototxt(text: str, tops: int, shapes: list[tuple[int, ...]]) -> None:
    layer = layer_of(f'name: "lay" {text} ' + " ".join(f'top: "t{index}"' for index in range(tops)))
    assert layer.top_shapes([]) == shapes
    assert layer.fed


def test_what_the_prototxt_does_not_tell_is_asked_for() -> None:
    tops = 'top: "data" top: "label"'
    layer = layer_of(f'name: "lay" type: "ImageLabelmapData" {tops} image_data_param {{ batch_size: 1 }}')
    wanted = "layer 'lay': a layer of type ImageLabelmapData .*--input data=SHAPE, --input label=SHAPE"
    with pytest.raises(DataError, match=wanted):
        layer.top_shapes([])


def test_segments_of_unknown_classes_are_asked_for() -> None:
    layer = layer_of(f'name: "lay" type: "AnnotatedData" {RESIZED} top: "data" top: "label" top: "seg"')
    with pytest.raises(DataError, match="layer 'lay': how many classes of segments 'seg' has is not known"):
        layer.top_shapes([])


def test_values_are_those_that_the_user_gives() -> None:
    layer = layer_of('name: "lay" type: "AnnotatedData" top: "data" top: "label"')
    images, labels = layer(torch.ones(1, 3, 2, 2), torch.zeros(1, 1, 1, 8, dtype=torch.int64))
    assert images.shape == (1, 3, 2, 2)
    assert labels.dtype == torch.float32
    with pytest.raises(DataError, match=r"layer 'lay': .*data=..., label=..."):
        layer.next_batch()
