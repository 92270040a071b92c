"""SparseTrain: thresholds and pruned gradients, with the draws of the cases; and how it acts in a net."""

import numpy as np
import pytest
import torch

from caffe_compat.errors import SolverError
from caffe_compat.proto.schema import SolverParameter
from caffe_compat.proto.text import parse_text
from caffe_compat.solver.regularizers.sparsetrain import prune_gradient, threshold
from caffe_compat.solver.solver import Solver
from tests.solver.methods.golden import Case, cases, close, runner_of

NET = """
layer { name: "data" type: "DummyData" top: "data" top: "t"
  dummy_data_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } shape { dim: 2 dim: 4 }
    data_filler { type: "gaussian" } data_filler { type: "gaussian" } } }
layer { name: "a" type: "Convolution" bottom: "data" top: "a" %s
  convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "gaussian" std: 0.2 } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b"
  inner_product_param { num_output: 4 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "b" bottom: "t" top: "loss" }
"""


def make(fields, layer="", folder="/tmp"):
    text = f'base_lr: 0.01 lr_policy: "fixed" random_seed: 3 snapshot_prefix: "{folder}/run" {fields}'
    solver = parse_text(text, SolverParameter)
    solver.net_param.CopyFrom(parse_text(NET % layer, type(solver.net_param)))
    return Solver(solver)


def fifo(case, folder):
    method = make(f"gradient_prune_rate: {case.hyper['p']} gradient_prune_fifo: {case.hyper['fifo']}")._shaping.methods[
        0
    ]
    for t in range(case.hyper["steps"]):
        gradient = torch.as_tensor(case["g"][t])
        np.testing.assert_allclose(threshold(gradient, case.hyper["p"]), case["tau_of_batch"][t], rtol=1e-12)
        kept = method.thresholds["a"]
        used = sum(kept) / len(kept) if len(kept) == case.hyper["fifo"] else 0.0
        np.testing.assert_allclose(used, case["tau_used"][t], rtol=1e-12)
        found = method.prune("a", gradient, torch.as_tensor(case["rho"][t]))
        close(found, case["pruned"][t], 1e-12)
        assert ((found == 0).numpy() == (case["pruned"][t] == 0)).all()
        assert method.densities["a"] == pytest.approx(case["density"][t], rel=1e-12)
        if t == case.hyper["steps"] // 2:
            state = method.state_dict()
            method = make("gradient_prune_rate: 0.5")._shaping.methods[0]
            method._rates["a"], method._config = (
                case.hyper["p"],
                type(method._config)(case.hyper["p"], case.hyper["fifo"], "paper"),
            )
            method.load_state_dict(state)


def third_party(case, folder):
    for number, percent in enumerate(case.hyper["prune_rate_percent"]):
        gradient = torch.as_tensor(case[f"g_{number}"])
        tau = threshold(gradient, percent / 100, "third_party")
        np.testing.assert_allclose(tau, case[f"tau_{number}"], rtol=1e-6, atol=1e-12)
        found = prune_gradient(gradient, tau, torch.as_tensor(case[f"rho_{number}"])) if tau else gradient
        close(found, case[f"pruned_{number}"], 1e-6)
        assert ((found == 0).numpy() == (case[f"pruned_{number}"] == 0)).all()


@pytest.mark.parametrize("name", cases("sparsetrain"))
def test_it_is_its_sources(name, tmp_path):
    runner_of({"fifo": fifo, "third_party": third_party}, name)(Case("sparsetrain", name), tmp_path)


def test_a_pruned_gradient_is_right_on_average():
    gradient = torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    draws = torch.rand(len(gradient), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    pruned = prune_gradient(gradient, threshold(gradient, 0.9), draws)
    assert float((pruned != 0).double().mean()) == pytest.approx(0.46, abs=0.01)
    assert float((pruned * gradient).sum() / (gradient**2).sum()) == pytest.approx(1, abs=0.01)


def test_a_run_that_is_resumed_is_the_straight_one(tmp_path):
    fields = "gradient_prune_rate: 0.8 gradient_prune_fifo: 2"
    straight = make(fields)
    straight.step(8)
    first = make(fields, folder=tmp_path)
    first.step(4)
    path = first.snapshot()
    second = make(fields, folder=tmp_path)
    second.restore(path)
    second.step(4)
    for one, other in zip(straight.net.learnable_params, second.net.learnable_params, strict=True):
        assert torch.equal(one.tensor, other.tensor)
    assert straight._shaping.methods[0].densities["a"] < 1


def test_a_layer_can_be_left_out():
    solver = make("gradient_prune_rate: 0.8 gradient_prune_fifo: 1", "gradient_prune_param { rate: 0 }")
    solver.step(3)
    assert list(solver._shaping.methods[0].densities) == ["b"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("gradient_prune_rate: 1", "gradient_prune_rate is 1; wanted 0 or more and less than 1"),
        ("gradient_prune_rate: 0.5 gradient_prune_fifo: 0", "gradient_prune_fifo is 0; wanted 1 or more"),
        (
            'gradient_prune_rate: 0.5 gradient_prune_rule: "own"',
            "gradient_prune_rule is 'own'; allowed: paper, third_party",
        ),
    ],
)
def test_what_cannot_be_is_named(fields, message):
    with pytest.raises(SolverError, match=message):
        make(fields)
