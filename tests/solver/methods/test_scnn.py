"""SSL as its authors' branch scnn has it: their C++, step by step, through a Solver with compat "scnn"."""

import logging

import numpy as np
import pytest

from caffe_compat.errors import SolverError
from caffe_compat.proto.binary import write_blob
from caffe_compat.solver.structure import zero_shares
from tests.solver.methods.golden import Case, Given, beside, cases

DECAYS = ("breadth_decay", "kernel_shape_decay", "block_group_decay", "weight_decay", "momentum")


def spec_text(spec, path):
    """The param of one parameter of a case, and the connectivity_mode of its layer."""
    numbers = ("lr_mult", "decay_mult", "breadth_decay_mult", "kernel_shape_decay_mult")
    words = [f"{name}: {spec[name]}" for name in numbers if name in spec]
    if "regularization_type" in spec:
        words.append(f'regularization_type: "{spec["regularization_type"]}"')
    words += [f'decay_proto: "{path}"'] * ("decay_proto" in spec)
    for block in spec.get("block_group_lasso", ()):
        words.append("block_group_lasso { " + " ".join(f"{key}: {value}" for key, value in block.items()) + " }")
    mode = f"connectivity_mode: {spec['connectivity_mode']}" if "connectivity_mode" in spec else ""
    return f"{mode} param {{ {' '.join(words)} }}"


def made(case, folder):
    hyper = case.hyper
    names = [str(number) for number in range(len(hyper["params"]))]
    shapes = {name: tuple(spec["shape"]) for name, spec in zip(names, hyper["params"], strict=True)}
    extras, groups, start = {}, {}, {}
    for name, spec in zip(names, hyper["params"], strict=True):
        path = folder / f"decay_{name}.binaryproto"
        if "decay_proto" in spec:
            write_blob(path, case[f"decay_{name}"])
        extras[name], groups[name], start[name] = spec_text(spec, path), spec.get("group", 1), case[f"w0_{name}"]
    net, names = beside(shapes, extras, groups)
    passes = hyper.get("iter_size", 1)
    fields = (
        f"base_lr: {hyper['base_lr']} iter_size: {passes} "
        + " ".join(f"{name}: {hyper[name]}" for name in DECAYS if name in hyper)
        + f' regularization_type: "{hyper.get("regularization_type", "L2")}"'
    )
    double = hyper["real"] == "f64"
    task = lambda name, t, weight: case[f"grad_{name}"][t] / passes  # noqa: E731
    given = Given(net, fields, names, start, task, folder, double, decimals=False, compat="scnn")
    given.solver._shaping.loaded(given.solver._weights())  # as a caffemodel would be; it holds float32 here
    return given, names


@pytest.mark.parametrize("name", cases("ssl"))
def test_it_is_its_authors(name, tmp_path):
    case = Case("ssl", name)
    given, names = made(case, tmp_path)
    tolerance = 1e-12 if case.hyper["real"] == "f64" else 2e-6
    if given.solver._shaping.methods[0].connected:
        for index, connected in given.solver._shaping.methods[0].connected.items():
            np.testing.assert_array_equal(connected, case[f"connected_{index}"])

    def equal(found, wanted, what):
        np.testing.assert_allclose(
            found, wanted, rtol=0, atol=tolerance * max(1e-30, np.abs(wanted).max()), err_msg=what
        )

    for t in range(case.hyper["steps"]):
        penalties = given.solver.penalties
        equal(penalties.get("weight_decay", 0.0), case["decay_term"][t], f"decay at {t}")
        equal(penalties.get("group_lasso", 0.0), case["group_lasso_term"][t], f"group lasso at {t}")
        given.step()
        for index, each in enumerate(names):
            equal(given.weight(each), case[f"w_{each}"][t], f"{each} after {t}")
            assert ((given.weight(each) == 0) == (case[f"w_{each}"][t] == 0)).all()
            equal(given.history(each), case[f"history_{each}"][t], f"history of {each} after {t}")
            shares = zero_shares(given.params[each].detach())
            equal(100 * shares["columns"], case["column_row_sparsity"][t][index][0], "columns")
            equal(100 * shares["rows"], case["column_row_sparsity"][t][index][1], "rows")
        if t == case.hyper["steps"] // 2:
            given.resume()


def make(fields="", extra="", shape=(4, 2, 3, 3), compat="scnn", folder="/tmp"):
    net, names = beside({"a": shape}, {"a": extra})
    start = {"a": np.full(shape, 0.5)}
    return Given(
        net, f"base_lr: 0.1 {fields}", names, start, lambda *given: np.zeros(shape), folder, False, compat=compat
    )


def test_prune_threshold_takes_the_place_of_the_forks():
    given = make("prune_threshold: 0.6")
    given.step()
    assert not given.weight("a").any()


def test_small_weights_stay_without_the_fork():
    given = make(compat="wen2017")
    given.params["a"].data.fill_(5e-5)
    given.step()
    assert given.weight("a").all()


@pytest.mark.parametrize("compat", ["bvlc", "wen2017", "scnn"])
def test_the_kind_of_decay_of_a_param_acts_everywhere(compat):
    given = make("weight_decay: 0.1", 'param { regularization_type: "L1" }', compat=compat)
    given.step()
    np.testing.assert_allclose(given.weight("a"), 0.5 - 0.1 * 0.1, rtol=1e-6)


def test_zeros_are_shown_at_each_display(caplog):
    given = make("display: 1")
    given.params["a"].data[1] = 0
    with caplog.at_level(logging.INFO):
        given.step()
    assert "a, blob 0: zeros of elements 25%, rows 25%, columns 0%" in caplog.text


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ('param { regularization_type: "L3" }', "layer 'a': regularization_type is 'L3'; allowed: L2, L1"),
        ('param { decay_proto: "/none.binaryproto" }', "layer 'a': decay_proto '/none.binaryproto': .* is not at"),
    ],
)
def test_what_cannot_be_is_named(extra, message):
    with pytest.raises(SolverError, match=message):
        make("", extra)


def test_factors_of_another_shape_are_refused(tmp_path):
    write_blob(tmp_path / "f.binaryproto", np.ones((2, 2), np.float32))
    with pytest.raises(SolverError, match="has the shape \\(2, 2\\), the weights \\(4, 2, 3, 3\\); make them equal"):
        make("", f'param {{ decay_proto: "{tmp_path / "f.binaryproto"}" }}')


def test_masks_are_made_when_a_caffemodel_is_copied_in(tmp_path):
    first = make(folder=tmp_path)
    first.params["a"].data[1] = 0
    first.params["a"].data[2, 0, 0, 0] = 5e-5
    first.solver.snapshot()
    weights = tmp_path / "run_iter_0.caffemodel"
    net, names = beside({"a": (4, 2, 3, 3)}, {"a": "connectivity_mode: DISCONNECTED_GRPWISE"})
    task = np.ones((4, 2, 3, 3))
    loaded = {"a": first.weight("a")}
    given = Given(net, "base_lr: 0.1", names, loaded, lambda *_: task, tmp_path, False, compat="scnn", weights=weights)
    given.step()
    assert not given.weight("a")[1].any() and given.weight("a")[2, 0, 0, 0] != 0
    fresh = Given(net, "base_lr: 0.1", names, loaded, lambda *_: task, tmp_path, False, compat="scnn")
    fresh.step()
    assert fresh.weight("a")[1].all()
