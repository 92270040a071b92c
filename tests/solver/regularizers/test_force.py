"""The force against the fork's own ForceRegularize (tests/golden/force_step), a loop over pairs, and its laws."""

import importlib.util
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_compat.errors import SolverError
from caffe_compat.solver.regularizers.force import POWERS, add_force, force_gradient
from tests.conftest import golden

CASES = json.loads(golden("force_step", "force_step.json").read_text())
STORED = np.load(golden("force_step", "force_step.npz"))
ORDINARY = [case for case in CASES if not case["noise_amplified"]]  # the one other: any float32 result is arbitrary


def inputs(case):
    """W and the incoming gradient of a case: stored, or made as tests/golden/force_step/inputs.py makes them."""
    if f"W/{case['seed']}" in STORED:
        return STORED[f"W/{case['seed']}"], STORED[f"diff_in/{case['seed']}"]
    spec = importlib.util.spec_from_file_location("force_inputs", golden("force_step", "inputs.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.gen_W(case)


def total(case, dtype):
    weight, gradient = (torch.tensor(array, dtype=dtype) for array in inputs(case))
    add_force(
        [weight], [gradient], [case["force_decay"] * case["force_mult"]],
        case["force_type"], case["force_direction"], case["force_decay_type"],
    )  # fmt: skip
    return gradient.numpy()


def loop_over_pairs(weight, power):
    """The paper's Eq. 2 with f_ji = (u_j - u_i) / d^power, pair by pair, in float64; what is added is its negative."""
    weight = np.asarray(weight, np.float64).reshape(len(weight), -1)
    length = np.linalg.norm(weight, axis=1)
    force = np.zeros_like(weight)
    for i in range(len(weight)):
        for j in range(len(weight)):
            if i == j or length[i] <= 1e-4 or length[j] <= 1e-4:
                continue
            unit = weight[i] / length[i]
            pull = weight[j] / length[j] - unit
            distance = np.linalg.norm(pull)
            if power and distance <= 1e-4:
                continue
            pull /= distance**power
            force[i] -= length[i] * (pull - (pull @ unit) * unit)
    return force


@pytest.mark.parametrize("case", ORDINARY, ids=lambda case: f"{case['index']}-{case['kind']}-{case['force_type']}")
def test_force_in_float32_is_what_the_fork_computes(case):
    rows = STORED[f"{case['index']}/rows"] if case.get("rows_only") else slice(None)
    expected = STORED[f"{case['index']}/total_f32"]
    np.testing.assert_allclose(total(case, torch.float32)[rows], expected, rtol=0, atol=case["atol_f32"])


@pytest.mark.parametrize(
    "case",
    [case for case in ORDINARY if f"{case['index']}/total_f64" in STORED],
    ids=lambda case: f"{case['index']}-{case['kind']}-{case['force_type']}",
)
def test_force_in_float64_is_what_the_fork_computes_in_double(case):
    key = f"{case['index']}/total_f64"
    rows = STORED[f"{key}_rows"] if f"{key}_rows" in STORED else slice(None)
    atol = 1e-11 * np.abs(STORED[key]).max()  # the two implementations' own rounding at distances down to 1e-4
    np.testing.assert_allclose(total(case, torch.float64)[rows], STORED[key], rtol=0, atol=atol)


@pytest.mark.parametrize(
    "case", [case for case in ORDINARY if case.get("rows_only")], ids=lambda case: str(case["index"])
)
def test_force_on_every_row_adds_up_to_the_forks_sums(case):
    """Of the large cases only some rows are stored, and the sums over all of them."""
    result = total(case, torch.float32).astype(np.float64)
    index, atol = case["index"], case["atol_f32"]
    np.testing.assert_allclose(result.sum(0), STORED[f"{index}/col_sum"], rtol=0, atol=atol * len(result))
    np.testing.assert_allclose((result**2).sum(1), STORED[f"{index}/row_sqsum"], rtol=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    force_type=st.sampled_from(sorted(POWERS)),
    shape=st.sampled_from([(1, 3), (2, 1), (3, 2, 5), (5, 3, 3, 1), (7, 2, 1, 4), (130, 3), (4, 400)]),
    seed=st.integers(0, 2**16),
)
def test_force_is_the_papers_equation_pair_by_pair(force_type, shape, seed):
    weight = np.random.default_rng(seed).standard_normal(shape)
    expected = loop_over_pairs(weight, POWERS[force_type]).reshape(shape)
    result = force_gradient(torch.tensor(weight), force_type)
    assert result.shape == shape
    # One column leaves only the directions +1 and -1, where the force is 0: rounding of the sums is all there is.
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-12 * max(1, np.abs(weight).max() * len(weight)))


@pytest.mark.parametrize("force_type", sorted(POWERS))
@pytest.mark.parametrize("spread", [1.0, 1e-2, 1e-3, 3e-4])
def test_force_stays_accurate_as_filters_become_parallel(force_type, spread):
    """The force makes filters parallel; a float32 Gram matrix is 56 % off at the last of these spreads."""
    random = np.random.default_rng(3)
    direction = random.standard_normal(288)
    direction /= np.linalg.norm(direction)
    weight = (direction + spread * random.standard_normal((64, 288)) / np.sqrt(288)).astype(np.float32)
    expected = loop_over_pairs(weight, POWERS[force_type])
    result = force_gradient(torch.tensor(weight), force_type).numpy()
    error = np.linalg.norm(result - expected) / np.linalg.norm(expected)
    assert error < (1e-6 if spread == 1 else 1e-7)  # far filters: all in float32; near ones: its rounding of the result


@pytest.mark.parametrize("force_type", sorted(POWERS))
def test_force_is_perpendicular_to_every_filter(force_type):
    weight = torch.randn(9, 4, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    force = force_gradient(weight, force_type)
    along = (force * weight).flatten(1).sum(1) / (force.flatten(1).norm(dim=1) * weight.flatten(1).norm(dim=1))
    assert along.abs().max() < 1e-14


@pytest.mark.parametrize("force_type", ["Constant", "Degradation"])
def test_force_does_not_depend_on_the_order_of_filters_or_their_memory(force_type):
    weight = torch.randn(6, 3, 4, 2, generator=torch.Generator().manual_seed(2))
    order = torch.randperm(6, generator=torch.Generator().manual_seed(3))
    force = force_gradient(weight, force_type)
    torch.testing.assert_close(force_gradient(weight[order], force_type), force[order])
    torch.testing.assert_close(force_gradient(weight.contiguous(memory_format=torch.channels_last), force_type), force)


def _cosines(weight):
    unit = weight / weight.norm(dim=1, keepdim=True)
    return unit @ unit.T


@pytest.mark.parametrize("force_type", ["Constant", "Degradation"])
def test_without_data_the_force_turns_all_filters_into_one_direction(force_type):
    """Rank one in the end: the attraction has no other stable point (paper, section 3)."""
    weight = torch.rand(8, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(5)) - 0.3
    for iteration in range(600):
        weight -= 0.02 / (1 + iteration / 50) * force_gradient(weight, force_type)
    spectrum = torch.linalg.svdvals(weight)
    assert spectrum[1] / spectrum[0] < 0.02
    assert _cosines(weight).min() > 0.999


@pytest.mark.parametrize("force_type", ["Constant", "Degradation"])
def test_a_negative_strength_spreads_filters(force_type):
    weight = torch.rand(5, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(6)) + 0.5
    before = _cosines(weight).mean()
    for _ in range(200):
        gradient = torch.zeros_like(weight)
        add_force([weight], [gradient], [-0.02], force_type)
        weight -= gradient
    assert before > 0.8
    assert _cosines(weight).mean() < 0.3


@pytest.mark.parametrize("shape", [(), (4,), (0, 3), (4, 0)])
def test_blobs_without_filters_feel_no_force(shape):
    assert torch.equal(force_gradient(torch.ones(shape)), torch.zeros(shape))


def test_a_filter_shorter_than_1e_4_neither_pulls_nor_is_pulled():
    weight = torch.randn(4, 7, generator=torch.Generator().manual_seed(7))
    weight[2] *= 0.9e-4 / weight[2].norm()
    for force_type in POWERS:
        force = force_gradient(weight, force_type)
        assert torch.equal(force[2], torch.zeros(7))
        others = [0, 1, 3]
        torch.testing.assert_close(force[others], force_gradient(weight[others], force_type))


def test_same_direction_keeps_only_what_agrees_with_the_gradient():
    weight = torch.randn(5, 6, generator=torch.Generator().manual_seed(8))
    before = torch.randn(5, 6, generator=torch.Generator().manual_seed(9))
    after = before.clone()
    add_force([weight], [after], [0.5], "Constant", "same")
    force = force_gradient(weight)
    torch.testing.assert_close(after - before, torch.where(force * before < 0, 0, 0.5 * force))


def test_adaptive_decay_gives_the_force_the_gradients_norm():
    weight, before = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(10))
    after = before.clone()
    add_force([weight], [after], [-0.3], "Linear", decay_type="adaptive")
    torch.testing.assert_close((after - before).norm(), 0.3 * before.norm())


def test_adaptive_decay_leaves_the_gradient_where_there_is_no_force():
    weight, gradient = torch.ones(3, 4), torch.ones(3, 4)
    add_force([weight], [gradient], [0.3], "Constant", decay_type="adaptive")
    assert torch.equal(gradient, torch.ones(3, 4))


def test_unknown_force_type_names_the_known_ones():
    with pytest.raises(SolverError, match="force_type is 'constant'; allowed: Degradation, Constant, Linear, Gravity"):
        force_gradient(torch.ones(2, 2), "constant")


def test_groups_of_filters_keep_to_themselves_only_when_asked():
    weight = torch.randn(6, 4, generator=torch.Generator().manual_seed(11))
    together, apart = torch.zeros(6, 4), torch.zeros(6, 4)
    add_force([weight], [together], [1.0], "Constant")
    add_force([weight], [apart], [1.0], "Constant", groups=[2])
    torch.testing.assert_close(apart, torch.cat([force_gradient(weight[:3]), force_gradient(weight[3:])]))
    torch.testing.assert_close(together, force_gradient(weight))
