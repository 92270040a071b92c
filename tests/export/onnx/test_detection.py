"""Detection in ONNX: prior boxes, suppression and regions give the boxes and values of the net itself."""

import numpy as np
import pytest

import caffe_compat as cc
from tests.conftest import shared
from tests.export.cases import detector

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"settings": "code_type: CENTER_SIZE keep_top_k: 12 confidence_threshold: 0.45"},
        {"settings": "code_type: CORNER confidence_threshold: 0.2 background_label_id: 2"},
        {"settings": "code_type: CORNER_SIZE keep_top_k: 5 variance_encoded_in_target: true"},
        {"settings": "code_type: CENTER_SIZE keep_top_k: 30", "suppression": ""},
        {"channels": 24, "settings": "code_type: CENTER_SIZE keep_top_k: 9 share_location: false"},
        {"settings": "code_type: CENTER_SIZE keep_top_k: 12 confidence_threshold: 1"},
    ],
)
@pytest.mark.parametrize("items", [1, 2])
def test_detection_output_gives_the_same_rows_in_the_same_order(arguments, items, tmp_path):
    model = detector(**arguments)
    cc.write_onnx(model, tmp_path / "net.onnx", {"x": (items, 3, 9, 12)})
    assert cc.check_onnx(tmp_path / "net.onnx", model)["det"] <= 1e-6


def test_suppression_leaves_rows_out_and_the_file_leaves_their_number_open(tmp_path):
    model = detector()
    found = cc.Net(model)(**cc.valid_inputs(cc.Net(model)))["det"]
    assert found.shape == (1, 1, 12, 7)
    made = cc.to_onnx(model)
    assert [dim.dim_value for dim in made.graph.output[0].type.tensor_type.shape.dim] == [1, 1, 0, 7]


def test_what_reads_rows_whose_number_is_open_is_refused_unless_it_takes_any(tmp_path):
    model = detector()
    model.net.layer.add(name="same", type="Power", bottom=["det"], top=["same"])
    model.net.layer.add(name="sigmoid", type="Sigmoid", bottom=["det"], top=["sigmoid"])
    cc.write_onnx(model, tmp_path / "net.onnx", outputs=["det", "same"])
    assert max(cc.check_onnx(tmp_path / "net.onnx", model).values()) <= 1e-6
    with pytest.raises(cc.UnsupportedLayerError, match=r"layer 'sigmoid' \(Sigmoid\): the values decide how many rows"):
        cc.to_onnx(model)


def test_a_box_turned_inside_out_suppresses_none_and_is_suppressed_by_none(tmp_path):
    model = detector(settings="code_type: CORNER confidence_threshold: 0.01 variance_encoded_in_target: true")
    offsets = model.weights["loc"][1]
    offsets[:] = [0.3, 0.3, -0.3, -0.3] * 2  # on every prior: its corners change places
    model.weights["loc"][0][:] = 0
    cc.write_onnx(model, tmp_path / "net.onnx")
    assert cc.check_onnx(tmp_path / "net.onnx", model)["det"] <= 1e-6
    rows = cc.Net(model)(**cc.valid_inputs(cc.Net(model)))["det"].reshape(-1, 7)
    assert (rows[:, 5] < rows[:, 3]).all() and len(rows) == 2 * min(40, 9 * 12 * 2)


def test_a_threshold_that_shrinks_is_refused_by_name():
    with pytest.raises(cc.UnsupportedLayerError, match=r"'det' \(DetectionOutput\): its threshold shrinks by eta"):
        cc.to_onnx(detector(suppression="top_k: 40 eta: 0.9"))


def test_prior_boxes_are_a_constant():
    made = cc.to_onnx(detector(), outputs=["prior"])
    *copies, constant = made.graph.node
    assert {node.op_type for node in copies} <= {"Identity"} and constant.op_type == "Constant"
    boxes = onnx.numpy_helper.to_array(constant.attribute[0].t)
    np.testing.assert_allclose(boxes[0, 0, :4], [(0.5 - 1) / 12, (0.5 - 1) / 9, 1.5 / 12, 1.5 / 9], rtol=1e-6)


@pytest.mark.parametrize("name", ["ssd", "priors"])
def test_the_case_of_an_ssd_is_exported_whole(name, tmp_path):
    folder = shared("cases", "40-export-ssd")
    model = cc.read_model(folder / f"{name}.prototxt", folder / "ssd.caffemodel")
    cc.write_onnx(model, tmp_path / "net.onnx")
    assert max(cc.check_onnx(tmp_path / "net.onnx", model).values()) <= 1e-5


REGIONS = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 8 dim: 11 dim: 14 } } }
layer { name: "r" type: "Input" top: "r" input_param { shape { dim: 40 dim: 5 } } }
layer { name: "y" type: "%s" bottom: "x" bottom: "r" top: "y" %s }
"""


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("ROIPooling", "roi_pooling_param { pooled_h: 3 pooled_w: 4 spatial_scale: 0.0625 }"),
        ("ROIPooling", "roi_pooling_param { pooled_h: 7 pooled_w: 5 spatial_scale: 0.125 pad_ratio: 0.25 }"),
        ("PSROIPooling", "psroi_pooling_param { output_dim: 2 group_size: 2 spatial_scale: 0.0625 }"),
    ],
)
def test_regions_are_pooled_as_here_within_and_beyond_the_map(kind, settings, tmp_path):
    model = cc.Model(cc.parse_text(REGIONS % (kind, settings), cc.NetParameter))
    random = np.random.RandomState(3)
    corners = random.uniform(-60, 260, (40, 2))
    regions = np.concatenate((random.randint(0, 2, (40, 1)), corners, corners + random.uniform(-10, 200, (40, 2))), 1)
    regions[:8, 1:] = np.round(regions[:8, 1:]) + 0.5  # where rounding has to choose
    inputs = {"x": random.standard_normal((2, 8, 11, 14)).astype(np.float32), "r": regions.astype(np.float32)}
    cc.write_onnx(model, tmp_path / "net.onnx")
    assert cc.check_onnx(tmp_path / "net.onnx", model, inputs)["y"] <= 1e-6
