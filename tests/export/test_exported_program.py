"""Programs of torch.export, read back, give what Caffe gave."""

import numpy as np
import pytest
import torch

import caffe_compat as cc
from tests.conftest import golden, shared
from tests.export.cases import detector, one_layer
from tests.export.onnx.test_model import golden_model
from tests.net.test_golden_nets import _drawn_inputs
from tests.reference.regions import ROIS, SCALE, psroi_pooling, roi_pooling

TOLERANCE = 2e-5  # of the largest value, as for the nets themselves
SMALL = ("lenet", "cifar10_quick", "resnet20_cifar_deploy", "siamese", "fcn_like")
LARGE = ("googlenet_deploy", "mobilenet_v1_like", "squeezenet_v1_1", "alexnet", "vgg16")
MODELS = {
    "cifar10_full": ("cifar10_full_v1/cifar10_full.prototxt", "cifar10_full_v1/cifar10_full_iter_70000.caffemodel"),
    "lenet": ("lenet/lenet.prototxt", "lenet/lenet_iter_10000.caffemodel"),
    "mtcnn": ("mtcnn/det3.prototxt", "mtcnn/det3.caffemodel"),
    "slim320": ("slim320/slim-320.prototxt", "slim320/slim-320.caffemodel"),
    "googlenet": ("googlenet/deploy.prototxt", "googlenet/bvlc_googlenet.caffemodel"),
}


@pytest.mark.parametrize("name", [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_a_golden_net_gives_caffes_outputs(name, tmp_path):
    rule, model = golden_model(name)
    cc.write_exported_program(model, tmp_path / "net.pt2", compat="wen2017")
    drawn = _drawn_inputs(rule)
    inputs = [torch.from_numpy(np.float32(drawn[blob])) for blob in cc.Net(model.net, "TEST").input_names]
    with torch.no_grad():
        found = torch.export.load(tmp_path / "net.pt2").module()(*inputs)
    expected = np.load(golden("nets", f"{name}.npz"))
    assert found
    for blob, values in found.items():
        wanted = expected[f"out_{blob}"]
        assert np.abs(values.numpy() - wanted).max() <= TOLERANCE * np.abs(wanted).max()


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_public_model_is_exported_and_passes_its_check(name, tmp_path):
    model = cc.read_model(*(shared("models") / path for path in MODELS[name]))
    cc.write_exported_program(model, tmp_path / "net.pt2")
    assert max(cc.check_exported_program(tmp_path / "net.pt2", model).values()) < 1e-6


def test_the_batch_may_stay_open(tmp_path):
    model = cc.deploy(golden_model("cifar10_quick")[1])
    cc.write_exported_program(model, tmp_path / "net.pt2", dynamic_batch=True)
    inputs = {"data": np.random.default_rng(1).standard_normal((5, 3, 32, 32)).astype(np.float32)}
    assert max(cc.check_exported_program(tmp_path / "net.pt2", model, inputs).values()) < 1e-6


def test_another_models_weights_do_not_pass_the_check(tmp_path):
    model = cc.deploy(golden_model("lenet")[1])
    cc.write_exported_program(model, tmp_path / "net.pt2")
    changed = {name: tuple(1.01 * blob for blob in blobs) for name, blobs in model.weights.items()}
    with pytest.raises(cc.GraphError, match="is off by"):
        cc.check_exported_program(tmp_path / "net.pt2", cc.Model(model.net, changed))


def test_a_file_of_another_kind_is_named(tmp_path):
    (tmp_path / "net.pt2").write_text("no program")
    with pytest.raises(cc.DataError, match=r"net\.pt2: torch.export did not write it"):
        cc.check_exported_program(tmp_path / "net.pt2", golden_model("lenet")[1])


def test_a_net_that_cannot_be_followed_is_refused_in_one_line(monkeypatch):
    def refuse(*_arguments, **_options):
        raise RuntimeError("data-dependent\nand much more")

    monkeypatch.setattr(torch.export, "export", refuse)
    with pytest.raises(cc.UnsupportedLayerError) as refusal:
        cc.to_exported_program(cc.deploy(golden_model("lenet")[1]))
    assert str(refusal.value).endswith(": torch.export cannot follow it: data-dependent")


def test_a_program_whose_sizes_change_inside_alone_is_checked_as_it_was_made(tmp_path):
    text = """
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 } } }
    layer { name: "s" type: "Input" top: "s" input_param { shape { dim: 4 } } }
    layer { name: "f" type: "Filter" bottom: "x" bottom: "s" top: "f" }
    """
    model = cc.Model(cc.parse_text(text, cc.NetParameter))
    cc.write_exported_program(model, tmp_path / "net.pt2")
    assert cc.check_exported_program(tmp_path / "net.pt2", model) == {"f": 0.0}


INDEXED = {
    "embed": ('type: "Embed" bottom: "a" top: "y" embed_param { input_dim: 7 num_output: 3 }', [(5, 2)]),
    "reindex": ('type: "BatchReindex" bottom: "a" bottom: "b" top: "y"', [(3, 2), (4,)]),
    "unpooling": ('type: "Upsample" bottom: "a" bottom: "b" top: "y" upsample_param { scale: 2 }', [(2, 3, 4, 5)] * 2),
    "maxima": ('type: "MaxUnPool" bottom: "a" bottom: "b" top: "y" max_unpool_param { dst_h: 8 dst_w: 9 }',
               [(2, 3, 4, 5)] * 2),
}  # fmt: skip


@pytest.mark.parametrize("name", INDEXED)
def test_indices_are_no_longer_looked_at_in_a_program(name, tmp_path):
    layer, shapes = INDEXED[name]
    model = one_layer(f'layer {{ name: "l" {layer} }}', *shapes)
    cc.write_exported_program(model, tmp_path / "net.pt2")
    assert cc.check_exported_program(tmp_path / "net.pt2", model) == {"y": 0}


REGIONS = {
    "ROIPooling": ("roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.25 }", 3,
                   lambda x: roi_pooling(x, ROIS.numpy(), (3, 2), SCALE)),
    "PSROIPooling": ("psroi_pooling_param { output_dim: 2 group_size: 3 spatial_scale: 0.25 }", 18,
                     lambda x: psroi_pooling(x, ROIS.numpy(), 2, 3, SCALE)),
    "ROIAlign": ("roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.25 pad_ratio: 0.2 }", 3, None),
    "DeformablePSROIPooling": ("deformable_psroi_pooling_param { output_dim: 2 group_size: 3 spatial_scale: 0.25 "
                               "sample_per_part: 2 no_trans: true }", 18, None),
}  # fmt: skip


@pytest.mark.parametrize("kind", [
    "ROIPooling", *(pytest.param(kind, marks=pytest.mark.slow) for kind in REGIONS if kind != "ROIPooling")
])  # fmt: skip
def test_a_program_pools_regions_and_may_be_given_others_than_it_was_made_with(kind, tmp_path):
    field, channels, loops = REGIONS[kind]
    shapes = [(2, channels, 7, 10), tuple(ROIS.shape)]
    model = one_layer(f'layer {{ name: "l" type: "{kind}" bottom: "a" bottom: "b" top: "y" {field} }}', *shapes)
    features = np.random.default_rng(0).integers(-40, 40, shapes[0]).astype(np.float32)  # many equal ones
    cc.write_exported_program(model, tmp_path / "net.pt2")
    assert cc.check_exported_program(tmp_path / "net.pt2", model, {"a": features, "b": np.float32(ROIS)})["y"] < 1e-6
    if loops is not None:
        made = torch.export.load(tmp_path / "net.pt2").module()(torch.from_numpy(features), ROIS.float())["y"]
        np.testing.assert_allclose(made.numpy(), loops(features), rtol=1e-6)


def test_what_torch_prints_of_a_net_that_it_cannot_follow_is_not_shown(capfd):
    decoder = 'layer { name: "l" type: "CTCGreedyDecoder" bottom: "a" top: "y" }'
    with pytest.raises(cc.UnsupportedLayerError, match=r"cannot follow layer 'l' \(CTCGreedyDecoder\)"):
        cc.to_exported_program(one_layer(decoder, (4, 2, 3)))
    assert capfd.readouterr() == ("", "")


def test_a_layer_that_cannot_be_followed_is_named_and_a_net_that_ends_before_it_is_written(tmp_path):
    model = detector()
    with pytest.raises(cc.UnsupportedLayerError, match=r"follow layer 'det' \(DetectionOutput\): .*; --output BLOB"):
        cc.to_exported_program(model)
    blobs = ["loc_f", "cf", "prior"]
    cc.write_exported_program(model, tmp_path / "net.pt2", outputs=blobs)
    assert cc.check_exported_program(tmp_path / "net.pt2", model) == dict.fromkeys(blobs, 0)
