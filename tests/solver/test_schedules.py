"""Learning rates against those that real Caffe reported (tests/golden/solver), to the last bit of its float32."""

import numpy as np
import pytest

from caffe_compat.proto.model import read_solver
from caffe_compat.proto.schema import SolverParameter
from caffe_compat.solver.config import read_config
from caffe_compat.solver.schedules import POLICIES, learning_rate
from tests.conftest import golden

CASES = sorted(path.name for path in golden("solver").glob("lr_*"))


def rates(config, iterations, real=np.float32):
    result, current_step = [], 0
    for iteration in range(iterations):
        rate, current_step = learning_rate(config, iteration, current_step, real)
        result.append(rate)
    return result, current_step


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("real", "key"), [(np.float32, "lr"), (np.float64, "lr64")])
def test_rates_are_caffes_to_the_bit(name, real, key):
    record = np.load(golden("solver", name, "trajectory.npz"))[key]
    config = read_config(read_solver(golden("solver", name, "solver.prototxt")))
    np.testing.assert_array_equal(np.asarray(rates(config, len(record), real)[0], real), record)


def test_golden_cases_cover_every_policy():
    solvers = [read_solver(golden("solver", name, "solver.prototxt")).lr_policy for name in CASES]
    assert {*solvers, "fixed"} == set(POLICIES)


def config(**fields):
    return read_config(SolverParameter(base_lr=0.5, **fields))


def test_multistep_takes_one_step_an_iteration():
    given = config(lr_policy="multistep", gamma=0.5, stepvalue=[2, 2, 2])
    assert rates(given, 6) == ([0.5, 0.5, 0.25, 0.125, 0.0625, 0.0625], 3)


def test_multistep_goes_on_from_the_step_of_a_snapshot():
    given = config(lr_policy="multistep", gamma=0.5, stepvalue=[2, 4])
    assert learning_rate(given, 3, 1) == (0.25, 1)
    assert learning_rate(given, 4, 1) == (0.125, 2)


def test_step_counts_from_the_iteration_alone():
    given = config(lr_policy="step", gamma=0.5, stepsize=10)
    assert learning_rate(given, 29, 0) == (0.125, 2)


def test_poly_has_no_rate_past_max_iter():
    given = config(lr_policy="poly", power=0.5, max_iter=10)
    assert learning_rate(given, 10, 0)[0] == 0
    assert np.isnan(learning_rate(given, 11, 0)[0])
