"""What a solver may not say, and what it is told then."""

import pytest

from caffe_compat.errors import SolverError
from caffe_compat.proto.schema import SolverParameter
from caffe_compat.solver.config import read_config

GOOD = {"base_lr": 0.1, "lr_policy": "fixed", "net": "net.prototxt"}


def test_a_good_solver_is_read_with_caffes_defaults():
    config = read_config(SolverParameter(**GOOD))
    assert (config.type, config.momentum, config.delta, config.rms_decay) == (
        "SGD",
        0,
        pytest.approx(1e-8),
        pytest.approx(0.99),
    )
    assert (config.iter_size, config.average_loss, config.clip_gradients) == (1, 1, -1)
    assert config.test_initialization and config.snapshot_after_train and not config.snapshot_hdf5
    assert (config.force.force_type, config.force.decay, config.force.last_iteration) == ("Degradation", 0, -1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lr_policy": "steps"}, "lr_policy is 'steps'; did you mean 'step'\\? allowed: fixed, step, exp, inv"),
        ({"lr_policy": ""}, "lr_policy is missing; allowed: fixed"),
        ({"type": "sgd"}, "type is 'sgd'; did you mean 'SGD'\\? allowed: SGD, Nesterov, AdaGrad, RMSProp"),
        ({"regularization_type": "L3"}, "regularization_type is 'L3'.* allowed: L2, L1"),
        ({"force_type": "constant"}, "force_type is 'constant'; did you mean 'Constant'\\?"),
        ({"force_direction": "both"}, "force_direction is 'both'; allowed: all, same"),
        ({"force_decay_type": "adaptiv"}, "force_decay_type is 'adaptiv'; did you mean 'adaptive'\\?"),
        ({"force_iter": -2}, "force_iter is -2; wanted an iteration, or -1"),
        ({"base_lr": -0.1}, "base_lr is -0.1; wanted 0 or more"),
        ({"base_lr": float("nan")}, "base_lr is nan; wanted a finite number"),
        ({"force_decay": float("inf")}, "force_decay is inf; wanted a finite number"),
        ({"weight_decay": -1}, "weight_decay is -1; wanted 0 or more"),
        ({"iter_size": 0}, "iter_size is 0; wanted 1 or more"),
        ({"average_loss": 0}, "average_loss is 0; wanted 1 or more"),
        ({"max_iter": -1}, "max_iter is -1; wanted 0 or more"),
        ({"display": -1}, "display is -1; wanted 0 or more"),
        ({"snapshot": -5}, "snapshot is -5; wanted 0 or more"),
        ({"momentum": 1.5}, "momentum is 1.5; wanted 0 or more and less than 1"),
        ({"type": "Adam", "momentum": 1}, "momentum is 1; wanted 0 or more and less than 1"),
        ({"type": "Adam", "momentum2": 1}, "momentum2 is 1; wanted 0 or more and less than 1"),
        ({"type": "AdaGrad", "momentum": 0.9}, "momentum is 0.9; AdaGrad takes none"),
        ({"type": "RMSProp", "momentum": 0.9}, "momentum is 0.9; RMSProp takes none"),
        ({"type": "RMSProp", "rms_decay": 1}, "rms_decay is 1; wanted 0 or more and less than 1"),
        ({"lr_policy": "step", "gamma": 0.1}, "stepsize is 0; lr_policy 'step' wants 1 or more"),
        ({"lr_policy": "exp", "gamma": -0.1}, "gamma is -0.1; lr_policy 'exp' wants 0 or more"),
        ({"lr_policy": "multistep", "stepvalue": [3]}, "gamma is missing; lr_policy 'multistep'"),
        ({"lr_policy": "poly", "power": 1}, "max_iter is 0; lr_policy 'poly' wants 1 or more"),
        ({"test_interval": 10}, "test_interval is 10, but test_iter is missing"),
        ({"test_iter": [5]}, "test_interval is missing; test_iter asks for tests"),
        ({"test_iter": [0], "test_interval": 5}, "test_iter is 0; wanted 1 or more"),
        ({"test_iter": [5], "test_interval": 5, "test_state": [{}, {}]}, "test_state is given 2 times for 1 test nets"),
        ({"test_net": ["a", "b"], "test_iter": [5], "test_interval": 5}, "test_iter is given 1 times; .* 2 test nets"),
    ],
)  # fmt: skip
def test_a_bad_field_is_named_with_what_is_allowed(fields, message):
    with pytest.raises(SolverError, match=f"solver.prototxt: {message}"):
        read_config(SolverParameter(**{**GOOD, **fields}), "solver.prototxt")


def test_a_missing_base_lr_is_named():
    with pytest.raises(SolverError, match="base_lr is missing"):
        read_config(SolverParameter(lr_policy="fixed"))


def test_snapshot_diff_is_warned_of_once(caplog):
    read_config(SolverParameter(**GOOD, snapshot_diff=True), "s.prototxt")
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("s.prototxt: snapshot_diff has no effect")
    read_config(SolverParameter(**GOOD))
    assert len(caplog.records) == 1
