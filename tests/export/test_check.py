"""`check` finds everything that is wrong with a net and its weights, at once."""

import json
import re
import time

import numpy as np
import pytest

import caffe_compat as cc
from tests.conftest import ROOT, golden, shared

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } } '
CONV = "convolution_param { num_output: 4 kernel_size: 3 }"
LOSS = 'layer { name: "loss" type: "EuclideanLoss" bottom: "s" bottom: "data" top: "loss" }'


def net(text, data=INPUT):
    return cc.parse_text(f'name: "n" {data}{text}', cc.NetParameter)


def problems(text, weights=None, **options):
    report = cc.check(cc.Model(net(text), weights or {}), **options)
    return [(found.layer, found.kind) for found in report.problems]


def layer(name, kind, bottom="data", more=""):
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{name}" {more} }} '


def test_every_fault_is_found_in_one_run():
    text = (
        layer("misspelt", "Convolutionn", more=CONV)
        + layer("unwired", "Convolution", "dta", CONV)
        + layer("large", "Convolution", more="convolution_param { num_output: 4 kernel_size: 11 }")
        + layer("outside", "Pooling", more="pooling_param { kernel_size: 1 stride: 9 }")
        + layer("forked", "Pooling", more="pooling_param { kernel_size: 2 torch_pooling: true }")
        + layer("owner", "Convolution", more=f'param {{ name: "w" }} {CONV}')
        + layer("sharer", "Convolution", more='param { name: "w" } convolution_param { num_output: 5 kernel_size: 3 }')
        + layer("twice", "ReLU", more="include { phase: TEST } exclude { phase: TRAIN }")
        + layer("absent", "Python", more='python_param { module: "no_such_module" layer: "L" }')
    )
    assert sorted(problems(text)) == [
        ("absent", "unsupported"),
        ("forked", "fork-field"),
        ("large", "shape"),
        ("misspelt", "unsupported"),
        ("outside", "shape"),
        ("sharer", "shape"),
        ("twice", "wiring"),
        ("unwired", "wiring"),
    ]


def test_every_layer_has_a_verdict_and_a_reason_if_it_is_not_exact():
    text = layer("c", "Convolution", more=CONV) + layer("odd", "Oddity", "c") + layer("drop", "Dropout", "c")
    report = cc.check(cc.Model(net(text)), phases=["TRAIN"])
    assert [(each.layer, each.verdict, bool(each.reason)) for each in report.layers] == [
        ("data", "exact", False),
        ("c", "exact", False),
        ("odd", "unsupported", True),
        ("drop", "approximate", True),
    ]


def test_layers_behind_an_unknown_one_are_still_judged():
    text = layer("odd", "Oddity") + layer("worse", "Curiosity", "odd")
    assert problems(text) == [("odd", "unsupported"), ("worse", "unsupported")]


def test_weights_that_are_missing_or_misfit_are_problems_and_unused_ones_a_note():
    text = layer("a", "Convolution", more=CONV) + layer("b", "Convolution", more=CONV)
    weights = {"a": (np.zeros((4, 3, 5, 5)), np.zeros(3)), "elsewhere": (np.zeros(1),)}
    assert problems(text, weights) == [("b", "weights"), ("a", "weights"), ("a", "weights")]
    report = cc.check(cc.Model(net(text), weights))
    assert any("elsewhere" in note.message for note in report.notes)
    assert "(4, 3, 5, 5)" in report.problems[1].message and "(4, 3, 3, 3)" in report.problems[1].message


@pytest.mark.parametrize(("factor", "expected"), [(0, [("bn", "values")]), (1, [])])
def test_statistics_under_a_factor_of_0_are_a_problem(factor, expected):
    blobs = (np.ones(3), np.ones(3), np.full(1, factor))
    assert problems(layer("bn", "BatchNorm"), {"bn": blobs}) == expected


def test_values_that_are_not_finite_are_a_problem():
    blobs = (np.full((4, 3, 3, 3), np.nan), np.zeros(4))
    assert problems(layer("c", "Convolution", more=CONV), {"c": blobs}) == [("c", "values")]


def in_place(name, kind, blob):
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{blob}" top: "{blob}" }} '


def overwritten(text, phase):
    """The layers that a check of one phase names, in a note, for computing with what is left in memory."""
    report = cc.check(cc.Model(net(text), {}), phases=[phase])
    assert "in-place" not in [found.kind for found in report.problems]
    return [found.layer for found in report.notes if found.kind == "in-place"]


def test_a_flattened_blob_changed_in_place_is_a_note_for_who_reads_the_original_later():
    text = layer("f", "Flatten") + in_place("r", "ReLU", "f") + layer("c", "Convolution", more=CONV)
    assert overwritten(text, "TEST") == ["c"]


def test_a_reader_that_comes_before_the_change_is_right_in_test():
    text = layer("c", "Convolution", more=CONV) + layer("f", "Flatten") + in_place("r", "ReLU", "f")
    assert overwritten(text, "TEST") == []


def test_a_sigmoid_whose_top_is_changed_in_place_has_another_gradient():
    text = layer("s", "Sigmoid") + in_place("r", "ReLU", "s") + LOSS
    assert overwritten(text, "TRAIN") == ["s"]
    assert overwritten(text, "TEST") == []


def test_a_relu_whose_blob_is_shifted_in_place_has_another_gradient():
    text = layer("s", "Convolution", more=CONV) + in_place("r", "ReLU", "s") + in_place("b", "Bias", "s") + LOSS
    assert overwritten(text, "TRAIN") == ["r"]
    assert overwritten(text, "TEST") == []


def test_a_flatten_behind_a_reshape_takes_the_gradient_of_all_above():
    text = layer("s", "Convolution", more=CONV) + layer("r", "Reshape", "s") + layer("f", "Flatten", "r") + LOSS
    assert overwritten(text, "TRAIN") == ["f"]
    assert overwritten(text, "TEST") == []


def test_a_logarithm_in_place_has_another_gradient():
    text = layer("s", "AbsVal") + in_place("l", "Log", "s") + LOSS
    assert set(overwritten(text, "TRAIN")) == {"l"}
    assert overwritten(text, "TEST") == []


def test_an_lrn_in_place_has_other_values_while_testing_too():
    text = layer("s", "AbsVal") + in_place("l", "LRN", "s")
    assert overwritten(text, "TEST") == ["l"]


def test_max_pooling_in_place_is_a_problem():
    text = layer("s", "AbsVal") + in_place("p", "Pooling", "s").replace(" } ", " pooling_param { kernel_size: 1 } } ")
    assert problems(text) == [("p", "in-place")]


def test_a_net_for_tests_alone_has_notes_on_gradients_for_those_who_ask_for_them():
    text = layer("s", "Sigmoid") + in_place("r", "ReLU", "s")
    (found,) = [note for note in cc.check(cc.Model(net(text), {})).notes if note.kind == "in-place"]
    assert found.layer == "s" and "layer 's': where gradients are asked for, " in found.message
    assert overwritten(text, "TEST") == []
    assert overwritten(f"force_backward: true {text}", "TEST") == ["s"]
    trained = [note.message for note in cc.check(cc.Model(net(text + LOSS), {})).notes if note.kind == "in-place"]
    assert len(trained) == 1 and "asked for" not in trained[0]


def test_the_usual_chain_in_place_is_not_named():
    kinds = ("BatchNorm", "Scale", "ReLU", "Dropout")
    text = layer("c", "Convolution", more=CONV) + "".join(in_place(kind, kind, "c") for kind in kinds)
    assert overwritten(text, "TRAIN") == []


def test_shared_parameters_and_the_dialect_are_notes():
    text = layer("a", "Convolution", more=f'param {{ name: "w" }} {CONV}') + layer(
        "b", "Convolution", more=f'param {{ name: "w" }} {CONV}'
    )
    report = cc.check(cc.Model(net(text + layer("p", "Permute", more="permute_param { order: 0 }"))))
    assert report.clean and report.dialect == "ssd"
    assert any("'w'" in note.message and "'a'" in note.message and "'b'" in note.message for note in report.notes)


def test_layers_of_one_name_are_a_problem_if_they_have_blobs():
    text = layer("c", "Convolution", more=CONV) + layer("c", "Convolution", more=CONV).replace('top: "c"', 'top: "d"')
    assert problems(text) == [("c", "name")]


@pytest.mark.parametrize(("loss", "phases"), [(LOSS, ("TRAIN", "TEST")), ("", ("TEST",))])
def test_a_net_without_a_loss_is_checked_in_test_alone(loss, phases):
    assert cc.check(cc.Model(net(layer("s", "ReLU") + loss))).phases == phases


@pytest.mark.parametrize("loss", [LOSS, ""])
def test_only_the_phases_that_have_data_are_checked(loss):
    data = INPUT.replace("input_param", "include { phase: TRAIN } input_param")
    report = cc.check(cc.Model(net(layer("s", "ReLU") + loss, data)))
    assert report.phases == ("TRAIN",) and report.clean


DATA = (
    'layer { name: "d" type: "Data" top: "data" top: "label" data_param { source: "absent" batch_size: 7 } '
    "transform_param { crop_size: 24 } } "
)


def test_data_that_is_not_here_is_a_note_and_the_weights_still_are_checked():
    weights = {"c": (np.zeros((4, 5, 3, 3)), np.zeros(4)), "ip": (np.zeros((2, 9)), np.zeros(2))}
    text = layer("c", "Convolution", more=CONV) + layer(
        "ip", "InnerProduct", "c", "inner_product_param { num_output: 2 }"
    )
    report = cc.check(cc.Model(net(text, DATA), weights))
    assert [found.layer for found in report.problems] == ["ip"]
    assert f"(2, {4 * 22 * 22})" in report.problems[0].message
    assert any("7x5x24x24 and 7" in note.message for note in report.notes)


def test_a_size_that_only_the_weights_know_is_found_from_them():
    weights = {"c": (np.zeros((4, 1, 3, 3)), np.zeros(4)), "ip": (np.zeros((2, 4 * 26 * 26)), np.zeros(2))}
    text = layer("c", "Convolution", more=CONV) + layer(
        "ip", "InnerProduct", "c", "inner_product_param { num_output: 2 }"
    )
    report = cc.check(cc.Model(net(text, DATA.replace("crop_size: 24", "")), weights))
    assert report.clean and any("7x1x28x28" in note.message for note in report.notes)


def test_the_report_is_json_too():
    report = cc.check(cc.Model(net(layer("odd", "Oddity"))))
    found = json.loads(report.to_json())
    assert found["clean"] is False and found["problems"][0]["layer"] == "odd"
    assert found["layers"][1] == {"layer": "odd", "type": "Oddity", "verdict": "unsupported",
                                  "reason": report.layers[1].reason}  # fmt: skip


def test_messages_name_blobs_as_the_prototxt_does():
    text = layer("a", "ReLU") + 'layer { name: "b" type: "ReLU" bottom: "data" bottom: "a" top: "b" }'
    (found,) = cc.check(cc.Model(net(text))).problems
    assert "'data'" in found.message and not re.search(r"split_\d", found.message)


@pytest.mark.parametrize("case", sorted(path.stem for path in golden("nets").glob("*.prototxt"))[:6])
def test_nets_that_caffe_ran_are_clean(case):
    path = golden("nets", f"{case}.prototxt")
    report = cc.check(cc.read_model(path), compat="wen2017", folder=path.parent)
    assert not [found for found in report.problems if found.kind != "data"]


@pytest.mark.parametrize(
    ("folder", "prototxt", "weights"),
    [
        ("lenet", "lenet.prototxt", "lenet_iter_10000.caffemodel"),
        ("cifar10_full_v1", "cifar10_full_train_test.prototxt", "cifar10_full_iter_70000.caffemodel"),
        ("slim320", "slim-320.prototxt", "slim-320.caffemodel"),
    ],
)
def test_real_models_are_clean_and_exact(folder, prototxt, weights):
    model = cc.read_model(shared("models", folder, prototxt), shared("models", folder, weights))
    report = cc.check(model)
    assert report.clean
    assert {each.verdict for each in report.layers} == {"exact"}


def test_ten_thousand_faults_are_listed_in_time():
    text = "".join(f'layer {{ name: "l{i}" type: "ReLU" bottom: "absent{i}" top: "t{i}" }} ' for i in range(10000))
    started = time.process_time()
    assert len(problems(text)) == 10000
    assert time.process_time() - started < 20  # seconds on a slow machine; a search for each would take minutes


def test_every_kind_of_finding_that_the_code_has_is_explained():
    code = "".join(path.read_text() for path in (ROOT / "caffe_compat" / "export").glob("*.py"))
    for word, kinds in cc.FINDINGS.items():
        used = set(re.findall(rf'\.{word}\([^,()]*(?:\([^()]*\))?[^,()]*, "([a-z-]+)"', code))
        used |= set(re.findall(rf'\.{word}\(\s*[a-z.]+, "([a-z-]+)"', code))
        assert used and used <= set(kinds)


@pytest.mark.parametrize(
    "field",
    [
        "block_group_lasso { xdimen: 1 ydimen: 4 }", "breadth_decay_mult: 1", "kernel_shape_decay_mult: 1",
        'decay_proto: "f.binaryproto"', 'regularization_type: "L1"', "force_mult: 1", "ortho_mult: 1",
        "sparse_group_mult: 1",
    ],
)  # fmt: skip
def test_what_the_solver_reads_of_a_param_is_not_called_without_effect(field):
    assert problems(layer("conv", "Convolution", more=f"param {{ {field} }} {CONV}")) == []
