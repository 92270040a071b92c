"""`deploy` makes of a net for training what its TEST phase computes from the data alone."""

import json
import zipfile

import numpy as np
import pytest
import torch

import caffe_compat as cc
from tests.conftest import shared

DATA = """
layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { crop_size: 9 mean_value: 1 mean_value: 2 mean_value: 3 } data_param { source: "no" batch_size: 7 } }
layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TEST }
  data_param { source: "no" batch_size: 5 } }
"""
IP = """
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" param { lr_mult: 1 name: "w" } param { lr_mult: 2 }
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } bias_filler { value: 1 } } }
"""
END = """
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" softmax_param { axis: 1 } }
"""


def model(text, weights=None):
    return cc.Model(cc.parse_text(f'name: "n" {text}', cc.NetParameter), weights or {})


def deployed(text, **options):
    return cc.deploy(model(text), **options).net


def wiring(net):
    return [(each.name, each.type, list(each.bottom), list(each.top)) for each in net.layer]


def test_data_becomes_an_input_and_the_loss_its_softmax():
    assert deployed(DATA + IP + END) == cc.parse_text(
        """
        name: "n"
        layer { name: "data" type: "Input" top: "data"
          input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }
        layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" param { name: "w" } param { }
          inner_product_param { num_output: 4 } }
        layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" softmax_param { axis: 1 } }
        """,
        cc.NetParameter,
    )


def test_the_batch_and_the_shape_are_as_asked():
    assert list(deployed(DATA + IP + END, batch=4).layer[0].input_param.shape[0].dim) == [4, 3, 9, 9]
    net = deployed(DATA + IP + END, shapes={"data": (2, 1, 5, 6)})
    assert list(net.layer[0].input_param.shape[0].dim) == [2, 1, 5, 6]


def test_fillers_and_learning_rates_stay_if_asked():
    ip = deployed(DATA + IP + END, keep_training=True).layer[1]
    assert ip.param[1].lr_mult == 2 and ip.inner_product_param.weight_filler.type == "xavier"


def test_fillers_stay_where_the_weights_lack_the_layer():
    net = cc.deploy(model(DATA + IP + END, {"other": (np.zeros(1),)})).net
    assert net.layer[1].inner_product_param.bias_filler.value == 1


def test_a_softmax_that_is_there_already_is_not_made_twice():
    text = DATA + IP + END + 'layer { name: "p" type: "Softmax" bottom: "ip" top: "p" include { phase: TEST } }'
    assert wiring(deployed(text))[2:] == [("p", "Softmax", ["ip"], ["p"])]


def test_what_only_labels_need_goes():
    text = (
        DATA
        + IP
        + (
            'layer { name: "f" type: "Flatten" bottom: "label" top: "f" }'
            'layer { name: "l" type: "SigmoidCrossEntropyLoss" bottom: "ip" bottom: "f" top: "l" }'
            'layer { name: "s" type: "Silence" bottom: "label" }'
        )
    )
    assert [each[0] for each in wiring(deployed(text))] == ["data", "ip", "prob"]
    assert deployed(text).layer[2].type == "Sigmoid"


AUXILIARY = """
layer { name: "aux" type: "InnerProduct" bottom: "data" top: "aux" inner_product_param { num_output: 4 } }
layer { name: "aux/loss" type: "SoftmaxWithLoss" bottom: "aux" bottom: "%s" top: "aux/loss" loss_weight: %s }
"""


def test_an_auxiliary_head_goes_with_its_branch_and_weights():
    blobs = (np.zeros((4, 243)), np.zeros(4))
    small = cc.deploy(model(DATA + AUXILIARY % ("label", 0.3) + IP + END, {"aux": blobs, "ip": blobs}))
    assert [each[0] for each in wiring(small.net)] == ["data", "ip", "prob"]
    assert list(small.weights) == ["ip"]


def test_heads_on_other_labels_or_of_equal_weight_stay():
    assert {"ip", "aux"} <= {each[0] for each in wiring(deployed(DATA + AUXILIARY % ("label", 1) + IP + END))}
    text = DATA.replace('top: "label"', 'top: "label" top: "other"') + AUXILIARY % ("other", 0.3) + IP + END
    assert [each[0] for each in wiring(deployed(text))] == ["data", "aux", "prob", "ip", "ip_prob"]


def test_a_regression_ends_with_what_it_learned():
    text = DATA + IP + 'layer { name: "l" type: "EuclideanLoss" bottom: "ip" bottom: "label" top: "l" }'
    assert [each[0] for each in wiring(deployed(text))] == ["data", "ip"]


def test_an_autoencoder_keeps_its_reconstruction_and_not_its_target():
    text = (
        DATA
        + IP
        + (
            'layer { name: "flat" type: "Flatten" bottom: "data" top: "flat" }'
            'layer { name: "l" type: "SigmoidCrossEntropyLoss" bottom: "ip" bottom: "flat" top: "l" loss_weight: 1 }'
            'layer { name: "out" type: "Sigmoid" bottom: "ip" top: "out" }'
            'layer { name: "e" type: "EuclideanLoss" bottom: "out" bottom: "flat" top: "e" loss_weight: 0 }'
        )
    )
    assert [each[0] for each in wiring(deployed(text))] == ["data", "ip", "out"]


def test_in_place_layers_stay_in_their_order():
    text = (
        DATA
        + IP
        + (
            'layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" }'
            'layer { name: "drop" type: "Dropout" bottom: "ip" top: "ip" }'
        )
        + END
    )
    assert [each[0] for each in wiring(deployed(text))] == ["data", "ip", "relu", "drop", "prob"]


def test_splits_of_a_caffemodel_are_undone():
    net = cc.Net(model(DATA + IP + END), input_shapes={"data": (5, 3, 9, 9), "label": (5,)})
    written = net.model()
    assert any(each.type == "Split" for each in written.net.layer)
    assert wiring(cc.deploy(written, shapes={"data": (1, 3, 9, 9)}).net) == wiring(deployed(DATA + IP + END))


def test_a_shape_that_nobody_tells_is_asked_for():
    with pytest.raises(cc.GraphError, match=r"'data'.*--shape data="):
        deployed(DATA.replace("crop_size: 9", "") + IP + END)


def test_a_deploy_net_stays_as_it_is():
    once = cc.deploy(model(DATA + IP + END))
    assert cc.deploy(once).net == once.net


REAL = [
    ("cifar10_full_v1", "cifar10_full_train_test.prototxt", "cifar10_full_iter_70000.caffemodel", "data"),
    ("lenet_v1", "lenet.prototxt", "lenet.caffemodel", "data"),
    ("resnet20_cifar10", "res20_cifar_train_test.prototxt", "cifar10_res20_iter_64000.caffemodel", "Data1"),
]


@pytest.mark.parametrize(("folder", "prototxt", "weights", "data"), REAL)
def test_real_models_give_the_same_class_scores(folder, prototxt, weights, data):
    trained = cc.read_model(shared("models", folder, prototxt), shared("models", folder, weights))
    small = cc.Net(cc.deploy(trained, batch=3))
    (name,) = small.input_names
    label = next(top for each in trained.net.layer if not each.bottom for top in each.top if top != data)
    whole = cc.Net(trained, input_shapes={data: small.shapes[name], label: (3,)})
    images = torch.randn(small.shapes[name], generator=torch.Generator().manual_seed(1)) * 40
    with torch.no_grad():
        (scores,) = whole(**{data: images}).values()
        torch.testing.assert_close(small(**{data: images})["prob"], scores.softmax(1), rtol=0, atol=0)


PAIRS = [
    ("BVLC__caffe/@9b891540/models/bvlc_googlenet/train_val.prototxt",
     "BVLC__caffe/models/bvlc_googlenet/deploy.prototxt"),
    ("BVLC__caffe/models/bvlc_alexnet/train_val.prototxt", "BVLC__caffe/@9b891540/models/bvlc_alexnet/deploy.prototxt"),
    ("BVLC__caffe/models/finetune_flickr_style/train_val.prototxt",
     "BVLC__caffe/models/finetune_flickr_style/deploy.prototxt"),
]  # fmt: skip


@pytest.mark.parametrize(("train", "wanted"), PAIRS)
def test_the_layers_are_those_of_the_deploy_nets_that_bvlc_wrote_by_hand(train, wanted, tmp_path):
    with zipfile.ZipFile(shared("prototxt", "prototxt.zip")) as archive:
        assert {train, wanted} <= {entry["local"] for entry in json.loads(archive.read("index.json"))}
        paths = [archive.extract(name, tmp_path) for name in (train, wanted)]
    size = 224 if "googlenet" in train else 227
    found, written = (
        wiring(cc.deploy(cc.read_model(paths[0]), shapes={"data": (1, 3, size, size)}).net),
        wiring(cc.read_net(paths[1])),
    )
    assert found[0][1:] == written[0][1:] and found[1:] == written[1:]


TRAIN_ONLY = """
layer { name: "data" type: "AnnotatedData" top: "data" top: "label" include { phase: TRAIN }
  transform_param { mean_value: 127.5 resize_param { resize_mode: WARP height: 32 width: 24 } }
  data_param { source: "gone" batch_size: 4 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
layer { name: "loss" type: "RegionLoss" bottom: "conv" bottom: "label" top: "loss" include { phase: TRAIN } }
"""


def test_layers_of_train_are_taken_where_only_train_has_data(caplog):
    model = cc.Model(cc.parse_text(TRAIN_ONLY, cc.NetParameter))
    made = cc.deploy(model, shapes={"data": (1, 3, 32, 24)})
    assert [layer.name for layer in made.net.layer] == ["data", "conv", "drop"]
    assert "the layers of TRAIN are taken, for those of TEST do not fit together: layer 'conv'" in caplog.text
    assert not any(layer.include or layer.HasField("phase") for layer in made.net.layer)
    assert cc.Net(made).shapes["conv"] == (1, 4, 30, 22)
    with pytest.raises(cc.GraphError, match="layer 'conv': bottom 0 is 'data'"):
        cc.deploy(model, phase="TEST")
    assert cc.deploy(model, shapes={"data": (1, 3, 32, 24)}, phase="TRAIN").net == made.net


def test_what_evaluates_detections_goes_and_the_detections_stay():
    text = """
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 8 } shape { dim: 1 dim: 4 } } top: "c" }
    layer { name: "p" type: "Input" top: "p" input_param { shape { dim: 1 dim: 2 dim: 8 } } }
    layer { name: "gt" type: "Input" top: "gt" input_param { shape { dim: 1 dim: 1 dim: 1 dim: 8 } } }
    layer { name: "det" type: "DetectionOutput" bottom: "x" bottom: "c" bottom: "p" top: "det"
      detection_output_param { num_classes: 2 } }
    layer { name: "eval" type: "DetectionEvaluate" bottom: "det" bottom: "gt" top: "eval"
      detection_evaluate_param { num_classes: 2 background_label_id: 0 name_size_file: "gone" } }
    """
    made = cc.deploy(cc.Model(cc.parse_text(text, cc.NetParameter)))
    assert [layer.name for layer in made.net.layer] == ["x", "p", "det"]


@pytest.mark.parametrize(("labels", "kept"), [('bottom: "label"', ["data"]), ("", ["data", "decode"])])
def test_a_decoder_that_compares_with_labels_is_a_measure(labels, kept):
    text = f"""
    layer {{ name: "data" type: "Input" top: "x" top: "label" input_param {{ shape {{ dim: 5 dim: 1 dim: 4 }}
      shape {{ dim: 1 dim: 3 }} }} }}
    layer {{ name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param {{ num_output: 4 axis: 2 }} }}
    layer {{ name: "decode" type: "CTCGreedyDecoder" bottom: "fc" {labels} top: "decode" }}
    layer {{ name: "loss" type: "WarpCTCLoss" bottom: "fc" bottom: "label" top: "loss" }}
    """
    made = cc.deploy(cc.Model(cc.parse_text(text, cc.NetParameter)))
    assert [layer.name for layer in made.net.layer if layer.name != "fc"] == kept


def test_what_is_computed_from_a_loss_goes_with_it():
    text = """
    layer { name: "data" type: "Input" top: "x" top: "y"
      input_param { shape { dim: 2 dim: 4 } shape { dim: 2 dim: 3 } } }
    layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param { num_output: 3 } }
    layer { name: "each" type: "EuclideanLoss" bottom: "fc" bottom: "y" top: "each" loss_weight: 0 }
    layer { name: "hard" type: "Power" bottom: "each" top: "hard" power_param { scale: 2 } }
    layer { name: "loss" type: "EuclideanLoss" bottom: "fc" bottom: "y" top: "loss" }
    """
    made = cc.deploy(cc.Model(cc.parse_text(text, cc.NetParameter)))
    assert [layer.name for layer in made.net.layer] == ["data", "fc"]
