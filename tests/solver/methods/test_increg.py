"""IncReg by columns and by rows: what its authors' C++ does on chains of convolutions, through a Solver."""

import numpy as np
import pytest

from caffe_compat.errors import SolverError
from caffe_compat.solver.regularizers.increg import target_multiplier
from tests.solver.methods.golden import Case, Given, beside, cases, runner_of
from tests.solver.methods.nets import sum_of

POSITIONS = 16  # of an output, where a case does not say


def chain(layers):
    """Convolutions with biases in a chain, each with the output positions that its case counts multiply-adds with."""
    text, bottom, size, names = [], "data", 0, []
    for number, layer in enumerate(layers):
        filters, channels, high, wide = layer["shape"]
        group, want = layer.get("group", 1), round(layer.get("out_positions", POSITIONS) ** 0.5)
        before = size or 64
        pads = [next(p for p in range(64) if want + k - 1 - 2 * p <= before) for k in (high, wide)]
        height, width = (want + k - 1 - 2 * p for k, p in zip((high, wide), pads, strict=True))
        if not number:
            dims = f"dim: 1 dim: {channels * group} dim: {height} dim: {width}"
            text.append(
                f'layer {{ name: "data" type: "DummyData" top: "data" dummy_data_param {{ shape {{ {dims} }} }} }}'
            )
        elif (height, width) != (size, size):
            kernel = f"kernel_h: {size - height + 1} kernel_w: {size - width + 1}"
            text.append(
                f'layer {{ name: "pool{number}" type: "Pooling" bottom: "{bottom}" top: "pool{number}" '
                f"pooling_param {{ pool: AVE {kernel} stride: 1 }} }}"
            )
            bottom = f"pool{number}"
        ratio = f"prune_param {{ prune_ratio: {layer['prune_ratio']} }}"
        text.append(
            f'layer {{ name: "{number}" type: "Convolution" bottom: "{bottom}" top: "{number}" {ratio} '
            "param { } param { lr_mult: 2 decay_mult: 0 } "
            f"convolution_param {{ num_output: {filters} group: {group} kernel_h: {high} kernel_w: {wide} "
            f"pad_h: {pads[0]} pad_w: {pads[1]} }} }}"
        )
        bottom, size = str(number), want
        names += [f"w_{number}", f"b_{number}"]
    return "\n".join([*text, sum_of(bottom)]), names


def fields_of(hyper):
    scheme = hyper.get("IF_scheme1_when_Reg_rank", hyper.get("scheme1", True))
    speedup = f"speedup: {hyper['speedup']}" if "speedup" in hyper else ""
    return (
        f"base_lr: {hyper['base_lr']} momentum: {hyper['momentum']} weight_decay: {hyper['weight_decay']} "
        f'prune_method: "{hyper["method"]}" AA: {hyper["AA"]} target_reg: {hyper["target_reg"]} {speedup} '
        f"iter_size: {hyper.get('iter_size', 1)} IF_scheme1_when_Reg_rank: {str(bool(scheme)).lower()}"
    )


def trajectory(case, folder):
    hyper = case.hyper
    net, names = chain(hyper["layers"])
    double, passes, seen = hyper["real"] == "f64", hyper.get("iter_size", 1), {}

    def task(name, iteration, weight):
        seen[name] = weight.numpy().copy()  # as the forward pass used it
        return case[name.replace("w_", "grad_").replace("b_", "grad_b_")][iteration] / passes

    start = {name: case[f"{name[0]}0{name[1:]}"] for name in names}
    given = Given(net, fields_of(hyper), names, start, task, folder, double, decimals=False)
    tolerance = 1e-12 if double else 2e-6
    for t in range(hyper["steps"]):
        given.step()
        method = given.solver._shaping.methods[0]
        np.testing.assert_allclose(method.speedup, case["speedup"][t], rtol=1e-6)
        assert method.is_finished == bool(case["stage_done"][t]), t
        for number in range(len(hyper["layers"])):
            check_layer(case, given, method.states[str(number)], number, t, seen, tolerance)
        if t == hyper["steps"] // 3:
            given.resume()


def check_layer(case, given, state, number, t, seen, tolerance):
    def equal(found, key, rtol=tolerance):
        wanted = case[f"{key}_{number}"][t]
        np.testing.assert_allclose(found, wanted, rtol=rtol, atol=tolerance, err_msg=f"{key} of {number} at {t}")

    np.testing.assert_array_equal(state.mask, case[f"mask_{number}"][t], err_msg=f"mask of {number} at {t}")
    equal(seen[f"w_{number}"], "w_forward")
    equal(given.weight(f"w_{number}"), "w")
    equal(given.history(f"w_{number}"), "history")
    equal(given.weight(f"b_{number}"), "b")
    equal(state.groups.penalty, "lambda")
    equal(state.groups.rank, "mean_rank", max(tolerance, 1e-11))
    assert state.finished == case[f"finished_{number}"][t]
    assert int((~state.mask.any(1)).sum()) == case[f"pruned_rows_{number}"][t]
    assert int((~state.mask.any(0)).sum()) == case[f"pruned_columns_{number}"][t]


@pytest.mark.parametrize("name", [name for name in cases("increg") if not name.startswith("stages")])  # test_retraining
def test_it_is_its_authors(name, tmp_path):
    runner_of({"col": trajectory, "row": trajectory}, name)(Case("increg", name), tmp_path)


def test_the_target_is_scaled_as_in_the_code():
    assert target_multiplier() == pytest.approx(2.452035831565093, rel=1e-15)


def make(fields, extra="prune_param { prune_ratio: 0.5 }"):
    net, names = beside({"a": (4, 2, 3, 3)}, {"a": extra})
    start = {"a": np.random.default_rng(0).normal(size=(4, 2, 3, 3))}
    return Given(net, f"base_lr: 0.1 {fields}", names, start, lambda name, t, w: np.zeros(w.shape), "/tmp", False)


@pytest.mark.parametrize(
    ("fields", "extra", "message"),
    [
        ('prune_method: "Reg_Colum" AA: 1', "", "prune_method is 'Reg_Colum'; did you mean 'Reg_Col'"),
        ('prune_method: "Reg_Col" target_reg: 1', "", "AA is missing; prune_method 'Reg_Col' needs it, above 0"),
        ('prune_method: "Reg_Col" AA: 1', "", "target_reg is missing; prune_method 'Reg_Col' needs it"),
        ('prune_method: "Reg_Col" AA: 1 target_reg: 1 speedup: 0.5', "", "speedup is 0.5; wanted 1 or more"),
        ('prune_method: "Reg_Row" AA: 1 target_reg: 1', "", "prune_method is 'Reg_Row', but no layer of net '' has a"),
        (
            'prune_method: "Reg_Row" AA: 1 target_reg: 1',
            "prune_param { prune_ratio: 1 }",
            "layer 'a': prune_ratio is 1",
        ),
    ],
)
def test_what_cannot_be_is_named(fields, extra, message):
    with pytest.raises(SolverError, match=message):
        make(fields, extra)


@pytest.mark.parametrize("field", ["compRatio: 3", "IF_compr_count_conv: true"])
def test_a_field_of_their_files_that_does_nothing_here_says_so(field, caplog):
    make(f'prune_method: "Reg_Row" AA: 1 target_reg: 1 {field}')
    assert f"{field.split(':')[0]} has no effect" in caplog.text


def test_masks_stay_when_training_goes_on():
    given = make('prune_method: "Reg_Row" AA: 0.5 target_reg: 1 target_reg_scaled: false momentum: 0.9')
    given.step(12)
    method = given.solver._shaping.methods[0]
    assert method.is_finished
    gone = ~given.weight("a").reshape(4, -1).any(1)
    assert gone.sum() == 2
