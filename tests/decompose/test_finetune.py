"""The solver that fine-tunes a decomposed net."""

import pytest

from caffe_compat.decompose.finetune import fine_tune_solver
from caffe_compat.proto.schema import NetParameter, SolverParameter


@pytest.mark.parametrize("nets", [{"test_net": ["old_test.prototxt"]}, {"test_net_param": [NetParameter(name="old")]}])
def test_the_decomposed_net_is_what_is_tested(nets):
    base = SolverParameter(
        train_net="old_train.prototxt", base_lr=0.1, max_iter=9, test_iter=[4], test_interval=3, **nets
    )
    solver = fine_tune_solver("low.prototxt", "low.caffemodel", base)
    assert solver.net == "low.prototxt"
    assert not (solver.test_net or solver.test_net_param or solver.HasField("train_net"))
    assert (list(solver.test_iter), solver.test_interval) == ([4], 3)
