"""The nets of public repositories that are exported: the list, what became of each, and the page made of it."""

import hashlib
import json
import re
import zipfile

import numpy as np
import pytest
import torch

import caffe_compat as cc
from tests.conftest import shared
from tests.export.cases import detector
from tests.export.real_nets.__main__ import NETS, in_child, nets
from tests.export.real_nets.measure import before_cuts, prepared
from tests.export.real_nets.outcomes import Outcome, read, write
from tests.export.real_nets.table import FOLDER, page, taken
from tests.export.real_nets.weights import with_drawn_weights

RESULTS = FOLDER / "results.tsv"
AGAIN = (  # small nets of each kind, measured again by the slow test
    "BVLC__caffe/@9b891540/examples/cifar10/cifar10_quick.prototxt",
    "senlinuc__caffe_ocr/examples/ocr/resnet/ResNet-train_val.prototxt",
    "Robert-JunWang__Pelee/model/voc/test_merged.prototxt",
    "eric612__MobileNet-YOLO/models/yolov2/mobilenet_yolo_deploy.prototxt",
)
WITHOUT_THEIR_PYTHON = {  # layers of Python modules that the archive lacks, in nets whose data it lacks too
    *(f"CongWeilin__mtcnn-caffe/{size}net/train{size}.prototxt" for size in (12, 24, 48)),
    "leetonfreestyle__DMSH/leeton/finetune.prototxt",
    "leetonfreestyle__DMSH/leeton/finetune_caffenet.prototxt",
}


def test_the_list_names_every_net_once_and_the_results_are_of_these():
    listed = list(nets())
    assert listed == sorted(set(listed)) and len(NETS.read_text(encoding="utf-8").splitlines()) == len(listed)
    assert {net for net, _ in read(RESULTS)} <= set(listed)


def test_the_page_is_made_of_the_results():
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == page(read(RESULTS))


@pytest.mark.parametrize("form", ["onnx", "pt2"])
def test_95_of_100_measured_nets_are_exported_or_cut_where_they_may_be(form):
    assert taken(read(RESULTS), form) >= 0.95


def test_a_net_is_cut_at_what_its_detections_are_made_of():
    model = detector()
    model.net.layer.add(name="twice", type="Power", bottom=["det"], top=["twice"])
    model.net.layer.add(name="beside", type="ReLU", bottom=["x"], top=["beside"])
    assert before_cuts(model) == (("loc_f", "cf", "prior", "beside"), {"DetectionOutput"})


def test_weights_are_drawn_so_that_filters_give_values_of_unit_size():
    model = with_drawn_weights(detector(), {})
    blobs = cc.Net(model).blobs(**cc.valid_inputs(cc.Net(model)))
    assert [round(float(blobs[name].std()), 3) for name in ("loc", "conf")] == [1, 1]


def test_a_net_for_training_is_measured_by_way_of_its_deploy_net():
    text = """
    layer { name: "data" type: "Data" top: "x" top: "label" data_param { source: "gone" batch_size: 8 } }
    layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param { num_output: 3 } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
    """
    made, deployed = prepared(cc.Model(cc.parse_text(text, cc.NetParameter)), {"x": (1, 1, 4, 4)})
    assert deployed and [layer.name for layer in made.net.layer] == ["x", "fc", "prob"]
    assert prepared(detector(), {})[1] is False


def test_outcomes_are_read_as_they_were_written(tmp_path):
    outcomes = {
        ("a/b.prototxt", "onnx"): Outcome("cut", True, "1e-06", "DetectionOutput", "0123abc"),
        ("a/b.prototxt", "pt2"): Outcome("refused", False, 'layer "x" | y'),
    }
    write(tmp_path / "results.tsv", outcomes)
    assert read(tmp_path / "results.tsv") == outcomes
    assert taken(outcomes, "onnx") == 1 and taken(outcomes, "pt2") == 0
    assert 'layer "x" \\| y' in page(outcomes) and "| 0123abc | 1 | 0 | 1 | 0 |" in page(outcomes)


@pytest.mark.slow
def test_every_other_net_of_the_archive_does_not_build_for_test(tmp_path):
    with zipfile.ZipFile(shared("prototxt", "prototxt.zip")) as archive:
        archive.extractall(tmp_path)
        index = json.loads(archive.read("index.json"))
    listed = {hashlib.sha256((tmp_path / net).read_bytes()).hexdigest() for net in nets()}
    for entry in index:
        text = (tmp_path / entry["local"]).read_bytes()
        if entry["kind"] != "net" or b"base_lr" in text or hashlib.sha256(text).hexdigest() in listed:
            continue
        with pytest.raises(cc.CaffeCompatError) as caught, torch.device("meta"):
            cc.Net(cc.read_model(tmp_path / entry["local"]), "TEST")
        if entry["local"] not in WITHOUT_THEIR_PYTHON:
            assert not re.search("is not at|give the shapes", str(caught.value))


@pytest.mark.slow
@pytest.mark.parametrize("net", AGAIN)
def test_a_net_measured_again_fares_as_is_written(net, tmp_path):
    pytest.importorskip("onnxruntime")
    with zipfile.ZipFile(shared("prototxt", "prototxt.zip")) as archive:
        path = archive.extract(net, tmp_path)
    found, wanted = in_child(path, nets()[net], "onnx", 300), read(RESULTS)[net, "onnx"]
    assert (found.state, found.deployed, found.before) == (wanted.state, wanted.deployed, wanted.before)
    assert np.float32(found.told) <= 1e-5
