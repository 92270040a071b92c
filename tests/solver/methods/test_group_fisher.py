"""Group Fisher pruning: mask gradients, order and what is left, as the authors' hook and the paper have them."""

import re
from functools import partial

import numpy as np
import pytest
import torch

from caffe_compat.errors import SolverError
from caffe_compat.net.net import Net
from caffe_compat.proto.model import Model
from caffe_compat.prune.groups import groups_of_zeros
from caffe_compat.prune.narrow import couple, narrow_classes
from caffe_compat.prune.selection import Selection, select
from tests.solver.methods.golden import Case, Given, cases, close, runner_of
from tests.solver.methods.test_sparse_group import Trained

SHARED = {"backbone.c1": "data", "backbone.c2": "c1", "backbone.c3": "c2"}


def text_of(case):
    """The prototxt of a case with its target; the levels of shared_head, whose net is told in words."""
    if "prototxt" not in case.hyper:
        return levels(case)
    text = "\n".join(line.split("  #")[0] for line in case.hyper["prototxt"])
    last = re.search(r'EuclideanLoss" bottom: "([^"]+)"', text)[1]
    shape = [len(case["x"][0]), *output_shape(case, text, last)]
    dims = " ".join(f"dim: {size}" for size in shape)
    return f'layer {{ name: "target" type: "Input" top: "target" input_param {{ shape {{ {dims} }} }} }}\n{text}'


def output_shape(case, text, last):
    values = case["target"].shape[2]
    outputs = int(re.findall(r"num_output: (\d+)", text)[-1])
    side = round((values / outputs) ** 0.5)
    return (outputs,) if side == 1 else (outputs, side, side)


def levels(case):
    conv = case.hyper["convolutions"]

    def layer(name, bottom, top, of=None, shared=False):
        shape, each = conv[of or name]["weight"], conv[of or name]
        names = "".join(f'param {{ name: "{of}.{k}" }} ' for k in range(2)) if shared else ""
        return (
            f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{top}" {names}convolution_param {{ '
            f"num_output: {shape[0]} kernel_size: {shape[2]} stride: {each['stride'][0]} pad: {each['pad'][0]} }} }}"
        )

    def relu(blob):
        return f'layer {{ name: "{blob}/relu" type: "ReLU" bottom: "{blob}" top: "{blob}" }}'

    size = case["x"].shape[3:]
    dims = f"dim: {len(case['x'][0])} dim: 3 dim: {size[0]} dim: {size[1]}"
    text = [f'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ {dims} }} }} }}']
    for name, bottom in SHARED.items():
        text += [layer(name, bottom, name[-2:]), relu(name[-2:])]
    above = None
    for number in (3, 2, 1):
        text.append(layer(f"neck.l{number}", f"c{number}", f"l{number}"))
        below = f"l{number}"
        if above:
            width = conv["neck.l1"]["weight"][0]
            text.append(
                f'layer {{ name: "up{number}" type: "Deconvolution" bottom: "{above}" top: "up{number}" '
                f"param {{ lr_mult: 0 }} convolution_param {{ num_output: {width} group: {width} kernel_size: 2 "
                'stride: 2 bias_term: false weight_filler { type: "constant" value: 1 } } }'
            )
            text.append(
                f'layer {{ name: "p{number}" type: "Eltwise" bottom: "{below}" bottom: "up{number}" top: "p{number}" }}'
            )
            below = f"p{number}"
        above = below
    for number, blob in ((1, "p1"), (2, "p2"), (3, "l3")):
        text += [
            layer(f"tower{number}", blob, f"t{number}", "bbox_head.tower", True),
            relu(f"t{number}"),
            layer(f"out{number}", f"t{number}", f"o{number}", "bbox_head.out", True),
            f'layer {{ name: "flat{number}" type: "Flatten" bottom: "o{number}" top: "f{number}" }}',
        ]
    values = case["target"].shape[2]
    text += [
        'layer { name: "all" type: "Concat" bottom: "f1" bottom: "f2" bottom: "f3" top: "all" }',
        f'layer {{ name: "target" type: "Input" top: "target" input_param {{ shape {{ dim: {len(case["x"][0])} '
        f"dim: {values} }} }} }}",
        'layer { name: "loss" type: "EuclideanLoss" bottom: "all" bottom: "target" top: "loss" }',
    ]
    return "\n".join(text)


def author(layer):
    """The authors' name of a layer of ours."""
    return re.sub(r"^(tower|out)\d$", r"bbox_head.\1", layer)


class Pruned(Trained):
    """The net of a case on its batches."""


def names_and_start(case, text):
    from caffe_compat.net.net import Net
    from caffe_compat.proto.schema import NetParameter
    from caffe_compat.proto.text import parse_text

    net, names, start = Net(parse_text(text, NetParameter), "TRAIN"), [], {}
    for param in net.learnable_params:
        layer, blob = param.users[0]
        kind = net.layers[layer].param.type
        name = f"{layer}:{blob}"
        key = f"w0.{author(layer).removesuffix('/scale')}.{('weight', 'bias')[min(blob, 1)]}"
        values = param.tensor.detach().numpy()
        if kind == "BatchNorm":
            part = ("running_mean", "running_var", None)[blob]
            values = np.ones(1) if part is None else case[f"buffer.{layer}.{part}"]
        elif key in case:
            values = case[key]
        elif kind == "Scale":
            values = case[f"w0.{layer.removesuffix('/scale')}.{('weight', 'bias')[blob]}"]
        names.append(name)
        start[name] = values
    return names, start


def made(case, folder):
    text = text_of(case)
    names, start = names_and_start(case, text)
    hyper = case.hyper
    fields = (
        f"base_lr: {hyper['base_lr']} momentum: {hyper['momentum']} fisher_pruning {{ delta: {hyper['delta'].upper()} "
        f"interval: {hyper['interval']} max_prunings: {hyper['prunes']} }}"
    )

    def batch(t):
        return {"data": case["x"][t], "target": case["target"][t]}

    given = Pruned(text, fields, names, start, batch, folder)
    shape = given.solver.net.shapes["target"]
    given.task = lambda t: {"data": case["x"][t], "target": case["target"][t].reshape(shape)}
    given.resume()
    return given


def unit_of(method, reads):
    """The number of the unit that reads channel `index` of layer `name`, by the authors' name."""
    name, index = reads
    for number, unit in enumerate(method.units):
        for place in unit.reads:
            per = len(place.indices) if author(place.layer) in ("fc",) else 1
            if author(place.layer) == name and index in [i // max(1, per) for i in place.indices]:
                return number
    return None


def trajectory(case, folder):
    given, hyper = made(case, folder), case.hyper
    prunings = 0
    for t in range(len(case["x"])):
        method = given.solver._shaping.methods[0]
        method._least = partial(least_checked, case, method, prunings)
        given.step()
        method = given.solver._shaping.methods[0]
        close(given.solver.loss, case["loss"][t], 1e-6)  # shown in float32
        check_mask_gradients(case, method, t)
        if (t + 1) % hyper["interval"] == 0 and prunings < hyper["prunes"]:
            assert method.gone[prunings] == wanted_unit(case, method, prunings), f"pruning {prunings}"
            prunings += 1
        if t == len(case["x"]) // 2:
            given.resume()
    method = given.solver._shaping.methods[0]
    check_end(case, given, method)


def wanted_unit(case, method, pruning):
    entry = case.hyper["order"][pruning]
    if isinstance(entry, list):
        return unit_of(method, entry[0])
    reads = next(word for word in case.hyper["classes"][entry] if word.startswith("reads"))
    _, name, index = reads.split()
    return unit_of(method, (name, int(index)))


def least_checked(case, method, pruning):
    check_scores(case, method, pruning)
    return type(method)._least(method)


def check_scores(case, method, pruning):
    """What the interval summed up of each unit that is left, and what it is divided by."""
    for name, scores, delta in scored(case, pruning):
        for channel, score in scores.items():
            number = unit_of(method, (name, channel))
            if number is None or number in method.gone:
                continue
            np.testing.assert_allclose(float(method.scores[number]), score, rtol=1e-8, err_msg=f"{name} {channel}")
            np.testing.assert_allclose(method.deltas()[number], delta[channel], rtol=1e-9, err_msg=f"{name} {channel}")


def scored(case, pruning):
    """(layer that reads, score of each of its channels, delta of each) at a pruning."""
    if "classes" in case.hyper:
        for entry, score, delta in zip(
            case.hyper["classes"], case["accumulated"][pruning], case["delta"][pruning], strict=True
        ):
            _, name, index = next(word for word in entry if word.startswith("reads")).split()
            yield name, {int(index): score}, {int(index): delta}
        return
    for key in case.names("delta."):
        name, scores = case.hyper["groups"].get(key, [key])[0], case[f"accumulated.{key}"][pruning]
        yield name, dict(enumerate(scores)), [case[f"delta.{key}"][pruning]] * len(scores)


def check_mask_gradients(case, method, t):
    """Of channels that are left, and of layers that pass a gradient on."""
    gone = set()
    for place in (place for number in method.gone for place in method.units[number].reads):
        per = len(place.indices) if place.layer == "fc" else 1
        gone |= {(author(place.layer), i // per) for i in place.indices}
    sums = {}
    for layer, calls in method._listener.parts.items():
        for call in calls:
            if call.dim():
                sums[author(layer)] = sums.get(author(layer), 0) + call.numpy()
    for name, found in sums.items():
        wanted = case[f"mask_grad.{name}"][t]
        if found.shape != wanted.shape:
            found = found.reshape(len(found), wanted.shape[1], -1).sum(2)
        left = [i for i in range(wanted.shape[1]) if (name, i) not in gone]
        if found.shape[1] == wanted.shape[1]:
            scale = np.abs(wanted).max()
            np.testing.assert_allclose(
                found[:, left], wanted[:, left], rtol=0, atol=1e-9 * scale, err_msg=f"{name} {t}"
            )


def check_end(case, given, method):
    if "flops_left" in case:
        flops, acts = method.left()
        assert flops == pytest.approx(case["flops_left"][-1], rel=1e-9)
        assert acts == pytest.approx(case["acts_left"][-1], rel=1e-9)
    check_small(case, given)
    places = {index: kept for index, kept in method._masks.items()}
    for index, name in enumerate(given.names):
        layer, blob = name.rsplit(":", 1)
        key = f"w.{author(layer).removesuffix('/scale')}.{('weight', 'bias')[min(int(blob), 1)]}"
        if key in case and given.solver.net.layers[layer].param.type != "BatchNorm":
            kept = places.get(index, torch.ones(1, dtype=torch.bool)).numpy()
            found, wanted = given.weight(name), case[key].reshape(given.weight(name).shape)
            close(found * kept, wanted * kept, 1e-9, name)


def check_small(case, given):
    """The smaller net has the weights of theirs, and its output for images that it was not trained on."""
    model = given.solver.model()
    statistics = {
        name: (case[f"buffer.{name}.running_mean"], case[f"buffer.{name}.running_var"], np.ones(1))
        for name in model.weights
        if f"buffer.{name}.running_mean" in case
    }
    model = Model(model.net, {**model.weights, **statistics})
    coupled = couple(model, whole_groups=groups_of_zeros(model))
    small = narrow_classes(model, coupled, select(model, coupled, Selection("zeros")), fold=False).model
    for layer in small.net.layer:
        for blob, part in enumerate(("weight", "bias")):
            key = f"small.{author(layer.name).removesuffix('/scale')}.{part}"
            if key in case and layer.name in small.weights and layer.type != "BatchNorm":
                found = small.weights[layer.name][blob]
                close(found, case[key].reshape(found.shape), 1e-9, f"{layer.name} {part}")
    inputs = {"data": case["x_eval"], "target": np.zeros((len(case["x_eval"]), *given.solver.net.shapes["target"][1:]))}
    net = Net(small.net, "TEST", input_shapes={name: values.shape for name, values in inputs.items()}).double()
    net.load_weights(small.weights)
    with torch.no_grad():
        found = net.eval().blobs(**inputs)[small.net.layer[-1].bottom[0]]
    close(found.reshape(len(found), -1), case["y_eval"], 1e-9, "output")


@pytest.mark.parametrize("name", cases("group_fisher"))
def test_it_is_its_authors(name, tmp_path):
    kinds = {kind: trajectory for kind in ("residual", "depthwise", "grouped", "concat", "shared")}
    runner_of(kinds, name)(Case("group_fisher", name), tmp_path)


NET = """
layer { name: "data" type: "DummyData" top: "data" dummy_data_param { shape { dim: 2 dim: 3 dim: 5 dim: 5 }
  data_filler { type: "gaussian" } } }
layer { name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param { num_output: 4 kernel_size: 3
  weight_filler { type: "gaussian" } } }
layer { name: "b" type: "Convolution" bottom: "a" top: "b" %s convolution_param { num_output: 2 kernel_size: 1
  weight_filler { type: "gaussian" } } }
layer { name: "sum" type: "Reduction" bottom: "b" top: "sum" loss_weight: 1 }
"""


def make(fields, layer=""):
    names = ["a", "a:b", "b", "b:b"]
    start = {"a": np.ones((4, 3, 3, 3)), "a:b": np.zeros(4), "b": np.ones((2, 4, 1, 1)), "b:b": np.zeros(2)}
    fields = f"base_lr: 0.01 {fields}"
    return Given(NET % layer, fields, names, start, lambda name, t, w: np.zeros(w.shape), "/tmp", False)


@pytest.mark.parametrize(
    ("fields", "layer", "message"),
    [
        ("fisher_pruning { }", "", "fisher_pruning has no end; give target_flops, target_acts or max_prunings"),
        ("fisher_pruning { max_prunings: 1 interval: 0 }", "", "fisher_pruning interval is 0; wanted 1 or more"),
        (
            "fisher_pruning { target_flops: 1 }",
            "",
            "fisher_pruning target_flops is 1; wanted 0 or more and less than 1",
        ),
        ("fisher_pruning { max_prunings: 1 }", "prune_param { prune: false }", "no channel of net '' may go"),
    ],
)
def test_what_cannot_be_is_named(fields, layer, message):
    with pytest.raises(SolverError, match=message):
        make(fields, layer)


def test_no_layer_loses_its_last_channel():
    given = make("fisher_pruning { max_prunings: 9 interval: 1 min_channels: 2 }")
    given.step(6)
    assert len(given.solver._shaping.methods[0].gone) == 2
