"""YOLO's detections in ONNX: the rows of the layer, in its order."""

import numpy as np
import pytest

import caffe_compat as cc
from tests.export.cases import one_layer

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

VERSION_2 = (
    "num_classes: 3 num_box: 2 confidence_threshold: {least} nms_threshold: {overlap} "
    "biases: 1 biases: 1.5 biases: 2 biases: 0.5"
)
VERSION_3 = (
    "num_classes: {classes} num_box: 2 mask_group_num: 2 confidence_threshold: {least} nms_threshold: {overlap} "
    "mask: 2 mask: 3 mask: 0 mask: 1 anchors_scale: 32 anchors_scale: 16 "
    + " ".join(f"biases: {side}" for side in (10, 13, 16, 30, 33, 23, 30, 61))
)


def version_2(items, least=0.3, overlap=0.45):
    fields = VERSION_2.format(least=least, overlap=overlap)
    layer = 'layer { name: "det" type: "YoloDetectionOutput" bottom: "a" top: "det" '
    layer += f"yolo_detection_output_param {{ {fields} }} }}"
    return one_layer(layer, (items, 2 * 8, 4, 5))


def version_3(items, least=0.4, overlap=0.45, classes=3, gaussian=False):
    fields = VERSION_3.format(least=least, overlap=overlap, classes=classes) + " gaussian_box: true" * gaussian
    layer = (
        'layer { name: "det" type: "Yolov3DetectionOutput" bottom: "a" bottom: "b" top: "det" '
        f"yolov3_detection_output_param {{ {fields} }} }}"
    )
    channels = 2 * ((9 if gaussian else 5) + classes)
    return one_layer(layer, (items, channels, 2, 3), (items, channels, 4, 6))


def rows_of(model, folder, scale=1.0):
    """The rows that the net gives for drawn heads, which the file gave too."""
    random = np.random.default_rng(4)
    heads = {
        name: np.float32(scale * random.normal(size=shape))
        for name, shape in cc.Net(model).shapes.items()
        if name != "det"
    }
    cc.write_onnx(model, folder / "net.onnx")
    assert cc.check_onnx(folder / "net.onnx", model, heads)["det"] <= 1e-6
    return cc.Net(model)(**heads)["det"].reshape(-1, 7).numpy()


@pytest.mark.parametrize("items", [1, 2])
@pytest.mark.parametrize("overlap", [0.1, 0.45, 1])
def test_version_2_gives_the_same_rows_in_the_same_order(items, overlap, tmp_path):
    rows = rows_of(version_2(items, overlap=overlap), tmp_path)
    assert len(rows) > 5 and set(rows[:, 1]) == {1, 2, 3}


def test_version_2_takes_the_boxes_of_every_head(tmp_path):
    one = version_2(1)
    layer = one.net.layer[-1]
    text = cc.format_text(layer).replace('bottom: "a"', 'bottom: "a" bottom: "b"')
    both = one_layer(f"layer {{ {text} }}", (1, 16, 4, 5), (1, 16, 2, 3))
    assert len(rows_of(both, tmp_path)) > 5
    (tmp_path / "one").mkdir()
    assert len(rows_of(both, tmp_path)) != len(rows_of(one, tmp_path / "one"))


@pytest.mark.parametrize("items", [1, 2])
@pytest.mark.parametrize("settings", [{}, {"classes": 1}, {"gaussian": True, "least": 0.2}, {"overlap": 0.1}])
def test_version_3_gives_the_same_rows_in_the_same_order(items, settings, tmp_path):
    rows = rows_of(version_3(items, **settings), tmp_path)
    assert len(rows) > 5 and len(set(rows[:, 1])) == settings.get("classes", 3)


@pytest.mark.parametrize("model", [version_2(2, least=1.5), version_3(2, least=1.5)], ids=["2", "3"])
def test_without_a_box_there_is_a_row_of_minus_one_for_each_item(model, tmp_path):
    np.testing.assert_array_equal(rows_of(model, tmp_path), [[0, *[-1] * 6], [1, *[-1] * 6]])


def test_boxes_that_lie_on_one_another_by_the_threshold_itself_suppress(tmp_path):
    """Two equal boxes overlap by 1, which a threshold of 1 still suppresses, and NonMaxSuppression would not."""
    model = version_2(2, least=0.1, overlap=1)
    head = np.float32(np.random.default_rng(4).normal(size=(1, 16, 4, 5)))
    twice = {"a": np.concatenate((head, head))}
    cc.write_onnx(model, tmp_path / "net.onnx")
    assert cc.check_onnx(tmp_path / "net.onnx", model, twice)["det"] <= 1e-6
    rows = cc.Net(model)(**twice)["det"].reshape(-1, 7)
    assert len(rows) == len(np.unique(rows.numpy(), axis=0)) > 20


def test_a_batch_of_any_size_is_refused_by_name():
    with pytest.raises(cc.UnsupportedLayerError, match=r"'det' \(YoloDetectionOutput\): boxes of all items compete"):
        cc.to_onnx(version_2(2), dynamic_batch=True)
