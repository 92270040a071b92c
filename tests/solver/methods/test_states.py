"""What a snapshot keeps of a method fits neither another method nor a net of other widths: one line."""

import numpy as np
import pytest

from caffe_compat.errors import SolverError
from caffe_compat.solver.method_state import MethodStates
from tests.solver.methods.golden import Given
from tests.solver.methods.nets import chain

WIDTHS = (6, 8)
# fields of the solver; of the param of each weight; of each layer
METHODS = {
    "sparse group lasso": ("sparse_group_decay: 1e-3", "sparse_group_mult: 1", ""),
    "GReg-1": ('growing_reg: "GReg-1"', "", "prune_param { prune_ratio: 0.5 }"),
    "SFP": ('prune_method: "SFP" prune_rate: 0.5 prune_interval: 1 prune_max_iter: 2', "", ""),
    "IncReg": ('prune_method: "Reg_Row" AA: 0.1 target_reg: 1', "", "prune_param { prune_ratio: 0.5 }"),
    "Group Fisher": ("fisher_pruning { max_prunings: 3 interval: 1 }", "", ""),
    "Power of Sparsity": ("", "", ""),
}


def trained(name, width, folder):
    """The state of a method after two steps, and a method of the same kind on a net `width` filters wide."""
    fields, of_param, of_layer = METHODS[name]
    shapes = {"a.weight": (width, 3, 3, 3), "b.weight": (width, width, 3, 3)}
    text, names = chain(shapes, f"param {{ {of_param} }} {of_layer}")
    if name == "Power of Sparsity":
        text = text.replace("bias_term: false", "bias_term: false connection_density: 0.5 connection_seed: 1")
    rng = np.random.default_rng(0)
    start = {key: rng.normal(size=shape) for key, shape in shapes.items()}
    given = Given(text, f"base_lr: 0.01 {fields}", names, start, lambda key, t, w: np.ones(w.shape), folder, False)
    given.step(2)
    (method,) = given.solver._shaping.methods
    return method


@pytest.mark.parametrize("name", METHODS)
def test_the_state_of_a_net_of_other_widths_does_not_fit(name, tmp_path):
    small, large = (trained(name, width, tmp_path) for width in WIDTHS)
    states = MethodStates()
    states.restore({"own": dict(small.state_dict())})
    with pytest.raises(SolverError, match="the snapshot's state of 'own' does not fit this run: ") as error:
        states.add("own", large)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", METHODS)
def test_the_state_of_another_method_does_not_fit(name, tmp_path):
    others = [other for other in METHODS if other != name]
    method = trained(name, WIDTHS[0], tmp_path)
    before = repr(method.state_dict())
    for other in others:
        states = MethodStates()
        states.restore({"own": dict(trained(other, WIDTHS[0], tmp_path).state_dict())})
        with pytest.raises(SolverError, match="the snapshot's state of 'own' does not fit this run: "):
            states.add("own", method)
    assert repr(method.state_dict()) == before
